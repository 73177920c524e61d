// Draws a picture, its alpha and an effect with WebGL 2.
import {EFFECTS, FRAGMENTS, VERTEX} from './shaders.js';

// The guided filter uses the grid of the alpha, because a finer grid makes the outline soft. On
// cut-outs with known alpha over photographs, with the fast network, the mean error along the outline
// is 0.083. It is 0.118 if the alpha is only stretched.
const RADIUS = 2; // of the filter's windows, in cells
const EPS = 1e-4; // variance of colours (0..1) below which a window counts as flat
const PULL = 0.12; // alphas closer than this to 0 or 1 become 0 or 1, to avoid haze
const LAYER = 256; // cells along the longer side of the layers of colours
const DISC = 0.04; // radius of the blur at strength 1, as a share of the longer side
const TAPS = 72; // samples of the blur's disc, as in DISC
const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

/** Returns whether this browser has WebGL 2 on a graphics processor rather than on the CPU. */
export function hasFastWebGl() {
  const gl = new OffscreenCanvas(1, 1).getContext('webgl2');
  if (!gl) return false;
  const names = gl.getExtension('WEBGL_debug_renderer_info');
  const name = gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return !SOFTWARE.test(name);
}

export class Painter {
  /**
   * @param canvas an HTMLCanvasElement or OffscreenCanvas, without a context.
   * @throws Error: no WebGL 2 with float targets; use `Painter2d`.
   */
  constructor(canvas) {
    this.canvas = canvas;
    const options = {premultipliedAlpha: true, antialias: false, depth: false};
    const gl = this.gl = canvas.getContext('webgl2', options);
    if (!gl) throw new Error('this browser has no WebGL 2');
    if (!gl.getExtension('EXT_color_buffer_float') && !gl.getExtension('EXT_color_buffer_half_float')) {
      throw new Error('this WebGL 2 has no float targets');
    }
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.programs = {};
    for (const [name, source] of Object.entries(FRAGMENTS)) this.programs[name] = program(gl, source);
    this.textures = {};
    this.targets = {};
    this.largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    this.setBackground(new ImageData(1, 1));
    this.setPainted(new ImageData(1, 1));
  }

  /** The picture behind the person, for the effect `picture`. */
  setBackground(picture) {
    this.#upload('behind', picture, true);
    this.aspect = picture.width / picture.height;
  }

  /** The picture in a painted style, for the effect `style`. */
  setPainted(picture) {
    this.#upload('painted', picture);
  }

  /**
   * Draws a frame.
   *
   * @param frame {picture, width, height, alpha, live, mirror}: `picture` is a source for
   *   texImage2D, of `width` x `height` pixels; `alpha` is {data, width, height}, or null to show
   *   the original picture; `live` is whether the picture changes from frame to frame.
   * @param look {effect, strength, colour, split}: a key of `EFFECTS`; 0..1; '#rrggbb'; the share
   *   of the width, at the left, that shows the original picture.
   * @param size {width, height} of the canvas. Default: the size of the picture.
   */
  draw(frame, look, size = frame) {
    const {gl, canvas} = this;
    if (canvas.width !== size.width) canvas.width = size.width;
    if (canvas.height !== size.height) canvas.height = size.height;
    if (frame.live || frame.picture !== this.shown) {
      this.#upload('picture', frame.picture, !frame.live);
      this.shown = frame.picture;
    }
    const effect = frame.alpha ? EFFECTS[look.effect] : EFFECTS.none;
    if (effect !== EFFECTS.none && this.#changed(frame, size)) this.#alpha(frame, size);
    if (effect === EFFECTS.blur) this.#blur(look.strength);
    const picture = this.aspect;
    const shape = size.width / size.height;
    const blank = this.textures.picture;
    const {fine = blank, person = blank, rest = blank, soft = blank} = this.targets;
    this.#pass('MIX', null, {
      picture: this.textures.picture, fine, person, rest, soft,
      behind: this.textures.behind, painted: this.textures.painted,
    }, {
      effect: ['1i', effect],
      plain: ['3f', ...channels(look.colour)],
      cover: ['2f', Math.min(1, shape / picture), Math.min(1, picture / shape)],
      strength: ['1f', look.strength],
      split: ['1f', look.split ?? 0],
      mirror: ['1i', frame.mirror ? 1 : 0],
    });
    gl.flush();
  }

  /** Returns whether the alpha or the size differ from the previous frame. */
  #changed({picture, alpha, live}, {width, height}) {
    const now = [picture, alpha, width, height];
    const changed = live || now.some((each, i) => each !== this.seen?.[i]);
    this.seen = now;
    return changed;
  }

  /** Enlarges the network's alpha along the picture's edges, and computes the colours of the layers. */
  #alpha({width, height, alpha}, size) {
    const {gl, textures} = this;
    textures.alpha ??= texture(gl);
    gl.bindTexture(gl.TEXTURE_2D, textures.alpha);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16F, alpha.width, alpha.height, 0, gl.RED, gl.FLOAT, alpha.data);
    const grid = this.#target('grid', alpha.width, alpha.height, gl.RGBA16F);
    const lines = this.#target('lines', grid.width, grid.height, gl.RGBA16F);
    const means = this.#target('means', grid.width, grid.height, gl.RGBA16F);
    const {picture} = textures;
    this.#pass('GRID', grid, {picture, alpha: textures.alpha}, cellOf(grid));
    this.#pass('FIT', lines, {grid}, {radius: ['1i', RADIUS], eps: ['1f', EPS]});
    this.#pass('MEAN', means, {grid, lines}, {radius: ['1i', RADIUS]});
    const fine = this.#target('fine', size.width, size.height, gl.R8);
    this.#pass('FINE', fine, {picture, alpha: textures.alpha, grid, lines: means}, {pull: ['1f', PULL]});
    const layer = Math.min(1, LAYER / Math.max(width, height));
    const [person, rest] = ['person', 'rest'].map((name) =>
      this.#target(name, width * layer, height * layer, gl.RGBA16F, true));
    this.#pass('LAYERS', [person, rest], {picture, fine}, cellOf(person));
    for (const {texture: t} of [person, rest]) {
      gl.bindTexture(gl.TEXTURE_2D, t);
      gl.generateMipmap(gl.TEXTURE_2D);
    }
  }

  #blur(strength) {
    const {gl} = this;
    const {rest} = this.targets;
    const soft = this.#target('soft', rest.width, rest.height, gl.RGBA16F);
    const longer = Math.max(rest.width, rest.height);
    const radius = Math.max(0.5, strength * DISC * longer); // in cells
    this.#pass('DISC', soft, {rest}, {
      radius: ['2f', radius / rest.width, radius / rest.height],
      level: ['1f', Math.max(0, Math.log2(radius * Math.sqrt(Math.PI / TAPS)))],
    });
  }

  #upload(name, source, mipmaps = false) {
    const {gl} = this;
    const t = this.textures[name] ??= texture(gl);
    gl.bindTexture(gl.TEXTURE_2D, t);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, mipmaps ? gl.LINEAR_MIPMAP_LINEAR : gl.LINEAR);
    if (mipmaps) gl.generateMipmap(gl.TEXTURE_2D);
  }

  /** Returns a texture to draw into, {texture, width, height}, and keeps it for the next frame. */
  #target(name, width, height, format, mipmaps = false) {
    const {gl} = this;
    width = Math.max(1, Math.round(width));
    height = Math.max(1, Math.round(height));
    let target = this.targets[name];
    if (target?.width === width && target.height === height) return target;
    if (target) gl.deleteTexture(target.texture);
    const t = texture(gl);
    const levels = mipmaps ? Math.floor(Math.log2(Math.max(width, height))) + 1 : 1;
    gl.texStorage2D(gl.TEXTURE_2D, levels, format, width, height);
    if (mipmaps) gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    target = this.targets[name] = {texture: t, width, height};
    return target;
  }

  /** Runs a program over all pixels of one or two targets, or of the canvas (null). */
  #pass(name, targets, textures, uniforms) {
    const {gl} = this;
    const {program: used, places} = this.programs[name];
    gl.useProgram(used);
    if (targets) {
      targets = [targets].flat();
      this.buffer ??= gl.createFramebuffer();
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.buffer);
      [0, 1].forEach((i) => gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + i,
        gl.TEXTURE_2D, targets[i]?.texture ?? null, 0));
      gl.drawBuffers(targets.map((_, i) => gl.COLOR_ATTACHMENT0 + i));
      gl.viewport(0, 0, targets[0].width, targets[0].height);
    } else {
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
      gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    }
    gl.uniform1i(places('flip'), targets ? 0 : 1);
    Object.entries(textures).forEach(([key, value], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, value.texture ?? value);
      gl.uniform1i(places(key), unit);
    });
    for (const [key, [kind, ...values]] of Object.entries(uniforms)) {
      gl[`uniform${kind}`](places(key), ...values);
    }
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.activeTexture(gl.TEXTURE0);
  }
}

const cellOf = ({width, height}) => ({cell: ['2f', 1 / width, 1 / height]});

/** Converts '#rrggbb' to three numbers in 0..1. */
function channels(colour = '#000000') {
  const number = parseInt(colour.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255].map((each) => each / 255);
}

function texture(gl) {
  const t = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, t);
  for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
    gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
  }
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
    gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
  }
  return t;
}

function program(gl, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  const found = {};
  const places = (name) => found[name] ??= gl.getUniformLocation(made, name);
  return {program: made, places};
}
