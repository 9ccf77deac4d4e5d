"""What a customer may demand: to be forgotten wherever their words went, and that a tenant keeps nothing longer than it says."""
