"""What every driver of a protocol must do, whatever it is made of. Subclass a suite and give it the driver as a fixture."""
