// Results for the user: the picture as a file or in the clipboard, and recordings of the camera.
import {$, attempt, say} from './page.js';

export class Results {
  #studio;
  #stop = null;

  /** @param studio a `Studio`. */
  constructor(studio) {
    this.#studio = studio;
  }

  /** Whether the camera's result is being recorded. */
  get records() {
    return this.#stop !== null;
  }

  /** Downloads the result as a PNG. */
  async save() {
    const blob = await attempt(() => this.#studio.png());
    if (!blob) return;
    download(blob, `portrait-${this.#studio.look.effect}.png`);
    say(`Saved, ${(blob.size / 1e6).toFixed(1)} MB.`);
  }

  /** Copies the result to the clipboard. */
  async copy() {
    await attempt(async () => {
      await navigator.clipboard.write([new ClipboardItem({'image/png': this.#studio.png()})]);
      say('Copied.');
    });
  }

  /** Starts a recording, or stops it and downloads the video. */
  async toggleRecord() {
    const stop = this.#stop;
    this.#stop = stop ? null : await attempt(() => this.#studio.record());
    this.#showRecording();
    if (!stop) {
      if (this.records) say('Recording, without sound.');
      return;
    }
    const film = await attempt(stop);
    if (!film) return;
    download(film, `portrait.${film.type.includes('mp4') ? 'mp4' : 'webm'}`);
    say(`Saved the video, ${(film.size / 1e6).toFixed(1)} MB.`);
  }

  #showRecording() {
    $('record').setAttribute('aria-pressed', this.records);
    $('record').querySelector('span').textContent = this.records ? 'Stop' : 'Record';
  }
}

function download(blob, name) {
  const link = Object.assign(document.createElement('a'), {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
