// Connects a picture or the camera, a network, the smoother and a painter.
import {Network, photoAlpha} from './model.js';
import {hasFastWebGl, Painter} from './painter.js';
import {Painter2d} from './painter2d.js';
import {Camera, openPicture} from './sources.js';
import {Smoother} from './temporal.js';

const SHOWN = 1600; // largest side on the screen, in pixels; results have full size
const SECOND = 1000;
const WRONG = {
  network: 'This network is a style: it returns a picture.',
  style: 'This network is not a style: it does not return a picture.',
};

/**
 * Events: `changed` when another picture, the camera or nothing is shown; `drawn`, with the
 * milliseconds of each stage; `failed`, with the error that stopped the camera.
 */
export class Studio extends EventTarget {
  /** The look of the result, see `Painter.draw`. */
  look = {effect: 'blur', strength: 0.5, colour: '#e9e4da', split: 0};
  /** The current frame: null, or {picture, width, height, alpha, live, mirror}. */
  frame = null;
  mirror = true;
  network = null;
  style = null;
  camera = new Camera();
  #smoother = new Smoother();
  #times = [];
  #painters = {};
  #background = null;
  #work = Promise.resolve();

  /**
   * @param stage the parent element of the canvas.
   * @param options {backend, painter}: 'webgpu' or 'wasm'; 'webgl' or '2d'. Default: automatic.
   */
  constructor(stage, {backend = 'auto', painter} = {}) {
    super();
    this.stage = stage;
    this.backend = backend;
    this.painter = painter ?? (hasFastWebGl() ? 'webgl' : 'auto');
  }

  get canvas() {
    return this.#shown?.canvas ?? null;
  }

  #shown = null;
  #asked = 0;
  #used = {network: 0, style: 0};

  /**
   * Loads the network for the alphas, and applies it to the current picture.
   *
   * @returns false if another network, which was asked for later, has been loaded meanwhile.
   */
  useNetwork(source) {
    return this.#use('network', source);
  }

  /** Loads the style network; the rest is as for `useNetwork`. */
  useStyle(source) {
    return this.#use('style', source);
  }

  async #use(kind, source) {
    const asked = ++this.#asked;
    const network = await Network.load(source, this.backend);
    const {paints} = network;
    const wrong = paints !== (kind === 'style');
    if (wrong || asked < this.#used[kind]) {
      network.delete();
      if (wrong) throw Object.assign(new Error(WRONG[kind]), {paints});
      return false;
    }
    this.#used[kind] = asked;
    await this.#alone(() => {
      this[kind]?.delete();
      this[kind] = network;
      if (kind === 'network') this.#smoother.reset();
    });
    if (this.frame && !this.frame.live) await this.#see();
    return true;
  }

  /** Changes parts of the look, and draws. */
  async set(look) {
    const styled = look.effect === 'style' && this.look.effect !== 'style';
    Object.assign(this.look, look);
    if (styled && this.frame && !this.frame.live) await this.#see();
    else this.draw();
  }

  /** Sets the picture behind the person. */
  setBackground(picture) {
    this.#background = picture;
    for (const painter of Object.values(this.#painters)) painter.setBackground(picture);
    this.draw();
  }

  /** Shows a photograph from a file. */
  async openPhoto(file) {
    const picture = await openPicture(file);
    this.stopCamera();
    const before = this.frame?.picture;
    this.#alone(() => before?.close?.()); // when no network uses it any more
    const {width, height} = picture;
    this.frame = {picture, width, height, alpha: null, live: false, mirror: false};
    this.draw();
    this.dispatchEvent(new Event('changed'));
    await this.#see();
  }

  /** Computes the alpha of the photograph, and draws. */
  async #see() {
    const {frame} = this;
    if (!this.network) return; // `useNetwork` calls this again
    await this.#alone(async () => {
      const start = performance.now();
      frame.alpha = await photoAlpha(this.network, frame.picture, frame.width, frame.height);
      const seen = performance.now();
      frame.painted = await this.#paint(frame.picture);
      const painted = performance.now();
      this.draw();
      const times = {network: seen - start, draw: performance.now() - painted};
      this.#report(frame.painted ? {...times, paint: painted - seen} : times);
    });
  }

  /** Paints the picture with the style network, if the look requires it. */
  async #paint(picture) {
    if (this.look.effect !== 'style' || !this.style) return null;
    const place = this.style.look(picture);
    const colours = await this.style.compute();
    const image = new ImageData(this.style.width, this.style.height);
    for (let i = 0, j = 0; i < colours.length; j++) {
      image.data[j] = j % 4 === 3 ? 255 : colours[i++];
    }
    image.data[image.data.length - 1] = 255;
    return createImageBitmap(image, place.x, place.y, place.width, place.height);
  }

  /** Starts the camera, and shows its frames until `stopCamera` or another picture. */
  async startCamera(options) {
    await this.camera.start((frame) => this.#alone(() => this.#live(frame)), (error) => {
      this.stopCamera();
      this.dispatchEvent(new CustomEvent('failed', {detail: error}));
    }, options);
    this.#smoother.reset();
    this.#times = [];
    const {video} = this.camera;
    const {videoWidth: width, videoHeight: height} = video;
    this.frame = {picture: video, width, height, alpha: null, live: true, mirror: this.mirror};
    this.dispatchEvent(new Event('changed'));
  }

  stopCamera() {
    if (!this.camera.running && !this.frame?.live) return;
    this.camera.stop();
    this.frame = null;
    this.dispatchEvent(new Event('changed'));
  }

  /** Processes a frame of the camera. */
  async #live(frame) {
    const {network} = this;
    const times = {};
    frame.mirror &&= this.mirror;
    if (network) {
      const start = performance.now();
      const alpha = await network.alpha(frame.picture);
      const seen = performance.now();
      frame.alpha = this.#smoother.smooth(alpha, alpha.bytes);
      times.network = seen - start;
      const smoothed = performance.now();
      times.smooth = smoothed - seen;
      frame.painted = await this.#paint(frame.picture);
      if (frame.painted) times.paint = performance.now() - smoothed;
    }
    if (!this.frame?.live) return; // the camera has stopped in the meantime
    this.frame = frame;
    const before = performance.now();
    this.draw();
    const now = performance.now();
    times.draw = now - before;
    this.#times.push(now);
    while (this.#times[0] < now - SECOND) this.#times.shift();
    this.#report({...times, rate: this.#times.length});
  }

  /** Draws the frame with the current look. */
  draw() {
    if (!this.frame) return;
    const {width, height, live} = this.frame;
    const painter = this.#painterFor(live);
    if (this.#shown !== painter) {
      this.#shown = painter;
      this.stage.replaceChildren(painter.canvas);
    }
    this.#drawWith(painter, Math.min(1, SHOWN / Math.max(width, height)), this.look);
  }

  #drawWith(painter, scale, look) {
    const {frame} = this;
    const size = {width: Math.round(frame.width * scale), height: Math.round(frame.height * scale)};
    if (look.effect === 'style') {
      if (frame.painted) painter.setPainted(frame.painted);
      else look = {...look, effect: 'none'};
    }
    painter.draw(frame, look, size);
  }

  /** Chooses WebGL for its edges, but the 2D canvas for the camera if WebGL runs on the CPU. */
  #painterFor(live) {
    const kind = this.painter === 'auto' ? (live ? '2d' : 'webgl') : this.painter;
    const made = this.#painters[kind];
    if (made && !made.gl?.isContextLost()) return made;
    let painter;
    try {
      painter = kind === 'webgl' ? new Painter(newCanvas()) : new Painter2d(newCanvas());
    } catch (error) {
      console.warn('WebGL:', error.message);
      this.painter = '2d';
      painter = this.#painters['2d'] ?? new Painter2d(newCanvas());
    }
    this.#painters[kind] = painter;
    if (this.#background) painter.setBackground(this.#background);
    return painter;
  }

  /** Returns the result as a PNG at full size. */
  async png() {
    if (!this.frame) return null;
    const painter = this.#painterFor(this.frame.live);
    const {width, height} = painter.canvas;
    const longer = Math.max(this.frame.width, this.frame.height);
    this.#drawWith(painter, Math.min(1, painter.largest / longer), {...this.look, split: 0});
    const saved = new Promise((done) => painter.canvas.toBlob(done, 'image/png'));
    // Restores the picture on the screen.
    if (this.look.split || painter.canvas.width !== width || painter.canvas.height !== height) this.draw();
    return saved;
  }

  /**
   * Records the camera's result; returns a function that stops and returns the video as a Blob.
   *
   * @throws Error: this browser cannot.
   */
  record() {
    const type = ['video/webm;codecs=vp9', 'video/webm', 'video/mp4']
      .find((each) => MediaRecorder.isTypeSupported(each));
    if (!type) throw new Error('This browser cannot record the camera.');
    const recorder = new MediaRecorder(this.canvas.captureStream(30), {
      mimeType: type, videoBitsPerSecond: 6e6,
    });
    const parts = [];
    recorder.addEventListener('dataavailable', (event) => parts.push(event.data));
    const stopped = new Promise((done) => recorder.addEventListener('stop', done));
    recorder.start();
    return async () => {
      if (recorder.state !== 'inactive') recorder.stop();
      await stopped;
      return new Blob(parts, {type: type.split(';')[0]});
    };
  }

  /** Runs steps that use a network, one after the other. */
  #alone(step) {
    const result = this.#work.then(step);
    this.#work = result.catch(() => {});
    return result;
  }

  #report(times) {
    this.dispatchEvent(new CustomEvent('drawn', {detail: times}));
  }
}

function newCanvas() {
  const canvas = document.createElement('canvas');
  canvas.setAttribute('role', 'img');
  return canvas;
}
