/*
 * Runs beside the page's own scripts while one calls: takes the microphone's samples, brings them to 16,000 a second and 16 bits, and hands
 * them on in pieces of a tenth of a second. Keeps nothing.
 */
class Microphone extends AudioWorkletProcessor {
  #step = sampleRate / 16000;
  #at = 0; // where the next sample to hand on begins, in samples of the microphone
  #sum = 0;
  #count = 0;
  #piece = new Int16Array(1600);
  #filled = 0;

  process([input]) {
    for (const sample of input?.[0] ?? []) {
      this.#sum += sample;
      this.#count++;
      if (++this.#at < this.#step) continue;
      this.#at -= this.#step;
      // The mean of what falls together keeps the worst of what is too high out.
      const mean = Math.max(-1, Math.min(1, this.#sum / this.#count));
      this.#sum = this.#count = 0;
      this.#piece[this.#filled++] = mean * 32767;
      if (this.#filled < this.#piece.length) continue;
      this.port.postMessage(this.#piece.slice().buffer);
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("frontdesk-microphone", Microphone);
