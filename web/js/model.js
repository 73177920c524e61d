// Runs a .tflite network, which converts a picture to its alpha or to a painted picture.
//
// The input of a network is one picture, (1, H, W, 3 or 4), raw 0..255. The output is an alpha,
// (1, H, W, 1) in 0..1, or a painted picture, (1, H, W, 3) in 0..255. `main.py --convert` and
// `stylize.py --convert` write such files.
import {loadAndCompile, loadLiteRt, supportsFeature, Tensor} from '../litert/index.js';

const RUNTIME = new URL('../litert/', import.meta.url);
const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;
const SQUEEZE = 1.4; // the largest distortion of a picture's proportions; beyond, it is padded
const PAD = 'rgb(124 117 104)'; // ImageNet's mean colour
const MARGIN = 0.15; // around a person, as a share of its size
const SOLID = 0.6; // the smallest alpha of pixels that locate the person
const WORTH = 0.72; // the largest share of the picture for which a window gets a second pass
const RAMP = 0.12; // the share of a window's side that is blended with the whole picture's alpha
const GRID = 640; // the longest side of an alpha from two passes, in pixels

let runtime = null;

/** Loads the bytes at an address, and unpacks them if they are gzipped. */
export async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return unpacked(new Uint8Array(await response.arrayBuffer()));
}

async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Loads LiteRT.js once. */
function loadRuntime() {
  runtime ??= (async () => {
    const variant = (await supportsFeature('relaxedSimd')) ? '' : '_compat';
    const name = `litert_wasm${variant}_internal`;
    // The script of the WebAssembly module reads its settings from here.
    self.Module = {
      wasmBinary: await fetchBytes(new URL(`${name}.wasm.gz`, RUNTIME)),
      printErr: (text) => console.debug(text), // its messages are not errors
    };
    return loadLiteRt(new URL(`${name}.js`, RUNTIME).href);
  })().catch((error) => {
    runtime = null;
    throw error;
  });
  return runtime;
}

/** Returns whether this browser has WebGPU on a graphics processor rather than on the CPU. */
export async function hasWebGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return false;
  const {isFallbackAdapter, vendor, architecture, description} = adapter.info ?? {};
  if (isFallbackAdapter ?? adapter.isFallbackAdapter) return false;
  return !SOFTWARE.test(`${vendor} ${architecture} ${description}`);
}

export class Network {
  /**
   * Loads a network.
   *
   * @param source the address, or the bytes as a Uint8Array; they may be gzipped.
   * @param backend 'webgpu', 'wasm', or 'auto', which uses WebGPU on a graphics processor.
   * @throws Error: not a .tflite file, or a file with other inputs or outputs than described above.
   */
  static async load(source, backend = 'auto') {
    const [bytes] = await Promise.all([
      source instanceof Uint8Array ? unpacked(source) : fetchBytes(source),
      loadRuntime(),
    ]);
    if (String.fromCharCode(...bytes.subarray(4, 8)) !== 'TFL3') {
      throw new Error('this is not a .tflite file');
    }
    if (backend === 'auto') backend = (await hasWebGpu()) ? 'webgpu' : 'wasm';
    if (backend === 'webgpu') {
      const network = await Network.#compiled(bytes, backend);
      if (network) return network;
    }
    return Network.#compiled(bytes, 'wasm');
  }

  /** Compiles the network for a backend; null if the graphics processor cannot run all of it. */
  static async #compiled(bytes, accelerator) {
    let model = null;
    try {
      model = await loadAndCompile(bytes, {accelerator});
      if (accelerator === 'wasm') return new Network(model, accelerator);
      if (model.isFullyAccelerated) {
        const network = new Network(model, accelerator);
        // A network with activations that overflow in half precision stays on the CPU.
        network.pixels.fill(128);
        if ((await network.compute()).every(Number.isFinite)) return network;
      }
    } catch (error) {
      if (accelerator === 'wasm') throw error;
      console.warn('WebGPU does not run this network:', error);
    }
    if (model && !model.deleted) model.delete();
    return null;
  }

  constructor(model, backend) {
    const [input] = model.getInputDetails();
    const [output] = model.getOutputDetails();
    const shape = [...input.shape];
    const channels = output.shape[output.shape.length - 1];
    if (shape.length !== 4 || ![3, 4].includes(shape[3]) || ![1, 3].includes(channels)) {
      model.delete();
      throw new Error('this network does not take a picture and return an alpha or a picture');
    }
    this.model = model;
    this.backend = backend;
    this.shape = shape;
    [, this.height, this.width, this.channels] = shape;
    this.paints = channels === 3;
    this.unit = output.dtype === 'uint8' ? 1 / 256 : 1; // the alpha of a step, in a uint8 file
    /** The network's input; `look` fills it. */
    this.pixels = new (input.dtype === 'uint8' ? Uint8Array : Float32Array)(shape.reduce((a, b) => a * b));
    const seen = new OffscreenCanvas(this.width, this.height);
    this.pen = seen.getContext('2d', {willReadFrequently: true});
    this.pen.imageSmoothingQuality = 'high';
  }

  /**
   * Draws a picture, or a box of it, into the network's input. The picture is squeezed to the input
   * size, or padded if its proportions differ much.
   *
   * @returns the place of the picture in the input, {x, y, width, height}, and the RGBA bytes `data`
   *   of the whole input.
   */
  look(picture, box = null) {
    const {pen, width, height, pixels} = this;
    const from = box ?? {
      x: 0, y: 0,
      width: picture.videoWidth ?? picture.width, height: picture.videoHeight ?? picture.height,
    };
    const place = this.#placeOf(from.width / from.height);
    if (place.width < width || place.height < height) {
      pen.fillStyle = PAD;
      pen.fillRect(0, 0, width, height);
    }
    pen.drawImage(picture, from.x, from.y, from.width, from.height,
      place.x, place.y, place.width, place.height);
    const {data} = pen.getImageData(0, 0, width, height);
    if (this.channels === 4) pixels.set(data);
    else {
      for (let at = 0, to = 0; to < pixels.length; at += 4) {
        pixels[to++] = data[at];
        pixels[to++] = data[at + 1];
        pixels[to++] = data[at + 2];
      }
    }
    return {...place, data};
  }

  #placeOf(aspect) {
    const {width, height} = this;
    const ratio = aspect / (width / height);
    if (ratio <= SQUEEZE && ratio >= 1 / SQUEEZE) return {x: 0, y: 0, width, height};
    const w = ratio < 1 ? Math.max(1, Math.round(width * ratio)) : width;
    const h = ratio > 1 ? Math.max(1, Math.round(height / ratio)) : height;
    return {x: (width - w) >> 1, y: (height - h) >> 1, width: w, height: h};
  }

  /** Runs the network on its input; returns a Float32Array, H x W alphas or H x W x 3 colours. */
  async compute() {
    const input = new Tensor(this.pixels, this.shape);
    const outputs = await this.model.run([input]);
    const values = await outputs[0].data();
    input.delete();
    for (const output of outputs) output.delete();
    if (values instanceof Float32Array) return values;
    return Float32Array.from(values, (value) => value * (this.paints ? 1 : this.unit));
  }

  /**
   * Computes the alpha of a picture, or of a box of it.
   *
   * @returns {data, width, height, bytes}: a Float32Array, 0..1, and the RGBA bytes of its picture.
   */
  async alpha(picture, box = null) {
    const place = this.look(picture, box);
    const all = place.width === this.width && place.height === this.height;
    const bytes = all ? place.data
      : this.pen.getImageData(place.x, place.y, place.width, place.height).data;
    const data = cut(await this.compute(), this.width, place);
    return {data, width: place.width, height: place.height, bytes};
  }

  delete() {
    if (!this.model.deleted) this.model.delete();
  }
}

/** Crops an image with one value per pixel, `across` wide; returns the image itself if uncropped. */
function cut(values, across, {x, y, width, height}) {
  if (width * height === values.length) return values;
  const part = new Float32Array(width * height);
  for (let row = 0; row < height; row++) {
    const start = (y + row) * across + x;
    part.set(values.subarray(start, start + width), row * width);
  }
  return part;
}

/**
 * Computes the alpha of a photograph in two passes: the whole, then a window around the people.
 *
 * @param network a `Network` that returns alphas.
 * @param picture a source for drawImage, of `width` x `height` pixels.
 * @returns {data, width, height}, of the network's input size or finer.
 */
export async function photoAlpha(network, picture, width, height) {
  const whole = await network.alpha(picture);
  const box = peopleBox(whole, width, height);
  const window = box && fitted(box, network.width / network.height, width, height);
  if (!window || window.width * window.height > WORTH * width * height) return whole;
  const near = await network.alpha(picture, window);
  const scale = Math.min(GRID / Math.max(width, height),
    Math.max(network.width / window.width, network.height / window.height));
  const grid = {width: Math.round(width * scale), height: Math.round(height * scale)};
  const place = {
    x: window.x * scale, y: window.y * scale,
    width: window.width * scale, height: window.height * scale,
  };
  return merged(whole, near, place, grid);
}

/** Returns the box of all solid pixels, with a margin, in pixels; null if there is nobody. */
function peopleBox({data, width, height}, across, down) {
  const columns = new Uint16Array(width);
  const rows = new Uint16Array(height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (data[i] >= SOLID) {
        columns[x]++;
        rows[y]++;
      }
    }
  }
  const solid = (count) => count > 2; // ignores a few stray pixels
  const [left, right] = [columns.findIndex(solid), columns.findLastIndex(solid) + 1];
  const [top, bottom] = [rows.findIndex(solid), rows.findLastIndex(solid) + 1];
  if (left < 0 || top < 0) return null;
  const [right_, down_] = [across / width, down / height];
  const margin = {x: MARGIN * (right - left) * right_, y: MARGIN * (bottom - top) * down_};
  return {
    x: left * right_ - margin.x, y: top * down_ - margin.y,
    width: (right - left) * right_ + 2 * margin.x, height: (bottom - top) * down_ + 2 * margin.y,
  };
}

/** Enlarges a box to `aspect`, moves it into the picture, and crops it at the edges. */
function fitted(box, aspect, width, height) {
  const wide = Math.max(box.width, box.height * aspect);
  const high = Math.max(box.height, box.width / aspect);
  const along = (start, length, grown, room) => {
    const length_ = Math.min(grown, room);
    const start_ = start + (length - grown) / 2;
    return [Math.round(Math.min(Math.max(start_, 0), room - length_)), Math.floor(length_)];
  };
  const [x, w] = along(box.x, box.width, wide, width);
  const [y, h] = along(box.y, box.height, high, height);
  return {x, y, width: w, height: h};
}

/** Merges the alpha of a window into the enlarged alpha of the whole, blended at its sides. */
function merged(whole, near, place, grid) {
  const data = new Float32Array(grid.width * grid.height);
  const ramp = (at, start, length, end) => {
    const width = RAMP * length;
    const before = start > 0 ? (at - start) / width : 1;
    const after = start + length < end ? (start + length - at) / width : 1;
    return Math.min(1, Math.max(0, Math.min(before, after)));
  };
  for (let y = 0, i = 0; y < grid.height; y++) {
    const down = ramp(y + 0.5, place.y, place.height, grid.height - 1);
    const v = (y + 0.5) / grid.height;
    for (let x = 0; x < grid.width; x++, i++) {
      const weight = down * ramp(x + 0.5, place.x, place.width, grid.width - 1);
      let value = 0;
      if (weight < 1) value += (1 - weight) * sampled(whole, (x + 0.5) / grid.width, v);
      if (weight > 0) {
        value += weight * sampled(near, (x + 0.5 - place.x) / place.width, (y + 0.5 - place.y) / place.height);
      }
      data[i] = value;
    }
  }
  return {data, width: grid.width, height: grid.height};
}

/** Returns the value at (u, v), 0..1, by bilinear interpolation. */
function sampled({data, width, height}, u, v) {
  const x = Math.min(Math.max(u * width - 0.5, 0), width - 1);
  const y = Math.min(Math.max(v * height - 0.5, 0), height - 1);
  const left = Math.min(Math.floor(x), width - 2);
  const top = Math.min(Math.floor(y), height - 2);
  const [a, b] = [x - left, y - top];
  const i = top * width + left;
  return (data[i] * (1 - a) + data[i + 1] * a) * (1 - b)
    + (data[i + width] * (1 - a) + data[i + width + 1] * a) * b;
}
