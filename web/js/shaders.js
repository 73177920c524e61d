// The programs of the WebGL painter, in the order of their use for a frame.
//
// p is the position in the picture, 0..1, from the top left, as in all textures. Colours are sRGB.

const HEAD = `#version 300 es
precision highp float;
precision highp sampler2D;
in vec2 p;
`;

/** One triangle that covers the target; `flip` reverses the rows for the canvas. */
export const VERTEX = `#version 300 es
uniform bool flip;
out vec2 p;
void main() {
  vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  p = flip ? vec2(corner.x, 1. - corner.y) : corner;
  gl_Position = vec4(corner * 2. - 1., 0, 1);
}`;

/** The picture and the network's alpha on the grid of the guided filter. */
const GRID = `${HEAD}
uniform sampler2D picture, alpha;
uniform vec2 cell; // of the grid
out vec4 colour;
void main() {
  // Four samples, because a video's texture has no mipmaps and may be four times as large.
  vec2 d = cell * .25;
  vec3 sum = texture(picture, p - d).rgb + texture(picture, p + d).rgb
    + texture(picture, p + vec2(d.x, -d.y)).rgb + texture(picture, p + vec2(-d.x, d.y)).rgb;
  colour = vec4(sum / 4., texture(alpha, p).r);
}`;

/**
 * The guided filter (He, Sun, Tang, 2013), first half: fits the alpha in the window around each cell
 * by a linear function of the colour. The function is stored as its slope and its value at the cell's
 * colour, because half precision represents that more precisely than its value at black.
 */
const FIT = `${HEAD}
uniform sampler2D grid;
uniform int radius;
uniform float eps;
out vec4 line;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy), last = textureSize(grid, 0) - 1;
  vec3 centre = texelFetch(grid, at, 0).rgb;
  vec3 mean = vec3(0), cross = vec3(0), square = vec3(0), mixed = vec3(0);
  float value = 0., count = 0.;
  for (int y = -radius; y <= radius; y++) for (int x = -radius; x <= radius; x++) {
    vec4 t = texelFetch(grid, clamp(at + ivec2(x, y), ivec2(0), last), 0);
    vec3 c = t.rgb - centre;
    mean += c; value += t.a; cross += c * t.a; square += c * c; mixed += c.rrg * c.gbb; count++;
  }
  mean /= count; value /= count;
  vec3 v = square / count - mean * mean + eps;             // rr gg bb
  vec3 w = mixed / count - mean.rrg * mean.gbb;            // rg rb gb
  vec3 right = cross / count - mean * value;
  mat3 adjugate = mat3(
    v.y * v.z - w.z * w.z, w.y * w.z - w.x * v.z, w.x * w.z - w.y * v.y,
    w.y * w.z - w.x * v.z, v.x * v.z - w.y * w.y, w.x * w.y - v.x * w.z,
    w.x * w.z - w.y * v.y, w.x * w.y - v.x * w.z, v.x * v.y - w.x * w.x);
  vec3 slope = adjugate * right / dot(vec3(v.x, w.xy), adjugate[0]);
  line = vec4(slope, value - dot(slope, mean));
}`;

/** The guided filter, second half: the mean of the functions of all windows that contain a cell. */
const MEAN = `${HEAD}
uniform sampler2D grid, lines;
uniform int radius;
out vec4 line;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy), last = textureSize(grid, 0) - 1;
  vec3 centre = texelFetch(grid, at, 0).rgb;
  vec4 sum = vec4(0);
  float count = 0.;
  for (int y = -radius; y <= radius; y++) for (int x = -radius; x <= radius; x++) {
    ivec2 other = clamp(at + ivec2(x, y), ivec2(0), last);
    vec4 l = texelFetch(lines, other, 0);
    sum += vec4(l.rgb, l.a + dot(l.rgb, centre - texelFetch(grid, other, 0).rgb));
    count++;
  }
  line = sum / count;
}`;

/** The alpha at full size: the functions applied to the colours of the picture. */
const FINE = `${HEAD}
uniform sampler2D picture, alpha, grid, lines;
uniform float pull;
out vec4 fine;
void main() {
  vec3 c = texture(picture, p).rgb;
  vec2 q = p * vec2(textureSize(grid, 0)) - .5, f = fract(q);
  ivec2 at = ivec2(floor(q)), last = textureSize(grid, 0) - 1;
  float value = 0.;
  for (int y = 0; y < 2; y++) for (int x = 0; x < 2; x++) {
    ivec2 t = clamp(at + ivec2(x, y), ivec2(0), last);
    vec2 near = mix(1. - f, f, vec2(x, y));
    vec4 l = texelFetch(lines, t, 0);
    value += near.x * near.y * (l.a + dot(l.rgb, c - texelFetch(grid, t, 0).rgb));
  }
  fine = vec4(clamp((value - pull) / (1. - 2. * pull), 0., 1.));
}`;

/**
 * The colours of the person and of the background, weighted by their shares of a pixel, for blur
 * fusion (Forte and Pitie, 2021). The fourth powers suppress mixed colours. The mipmaps of both hold
 * the means of neighbourhoods of all sizes.
 */
const LAYERS = `${HEAD}
uniform sampler2D picture, fine;
uniform vec2 cell;
layout(location = 0) out vec4 person;
layout(location = 1) out vec4 rest;
void main() {
  person = rest = vec4(0);
  for (int y = -1; y <= 1; y += 2) for (int x = -1; x <= 1; x += 2) {
    vec2 t = p + cell * .25 * vec2(x, y);
    vec3 c = texture(picture, t).rgb;
    float a = texture(fine, t).r, b = 1. - a;
    a *= a; b *= b;
    person += vec4(c, 1) * a * a / 4.;
    rest += vec4(c, 1) * b * b / 4.;
  }
}`;

/** The background out of focus: the mean over a disc, in which the person's colours weigh nothing. */
const DISC = `${HEAD}
uniform sampler2D rest;
uniform vec2 radius; // in p
uniform float level; // the mipmap whose cells are about as large as the gaps between samples
out vec4 colour;
const int TAPS = 72;
void main() {
  vec4 sum = textureLod(rest, p, 9.) * .02 + textureLod(rest, p, 6.) * .02;
  for (int i = 0; i < TAPS; i++) {
    float turn = float(i) * 2.39996323;
    vec2 d = vec2(cos(turn), sin(turn)) * sqrt((float(i) + .5) / float(TAPS));
    sum += textureLod(rest, p + d * radius, level);
  }
  colour = sum / float(TAPS);
}`;

/** The final picture. */
const MIX = `${HEAD}
uniform sampler2D picture, fine, person, rest, soft, behind, painted;
uniform int effect;    // see EFFECTS
uniform vec3 plain;    // the colour behind
uniform vec2 cover;    // the share of the picture behind that is seen
uniform float strength, split;
uniform bool mirror;
out vec4 colour;

/** The mean of a layer around p, over the smallest neighbourhood in which the layer is present. */
vec3 spread(sampler2D layer, vec2 p) {
  vec4 sum = textureLod(layer, p, 1.) + textureLod(layer, p, 2.) * .2
    + textureLod(layer, p, 3.) * .02 + textureLod(layer, p, 5.) * .002 + textureLod(layer, p, 9.) * .0001;
  return sum.rgb / max(sum.a, 1e-7);
}

void main() {
  vec2 q = vec2(mirror ? 1. - p.x : p.x, p.y);
  vec3 c = texture(picture, q).rgb;
  if (p.x < split || effect == 0) { colour = vec4(c, 1); return; }
  float a = texture(fine, q).r;
  if (effect == 5) { colour = vec4(vec3(a), 1); return; }

  vec3 f = c, b = c;
  if (a > .004 && a < .996) {
    // The means F' and B', then both corrected by the remainder of the pixel's colour.
    f = spread(person, q);
    b = spread(rest, q);
    vec3 over = c - a * f - (1. - a) * b;
    f = clamp(f + a * over, 0., 1.);
    b = clamp(b + (1. - a) * over, 0., 1.);
  }
  if (effect == 4) { colour = vec4(f * a, a); return; }
  vec3 ground = plain, light = plain;
  if (effect == 1) {
    vec4 s = texture(soft, q);
    ground = s.rgb / max(s.a, 1e-6);
    colour = vec4(mix(mix(b, ground, min(1., strength * 8.)), f, a), 1);
    return;
  }
  if (effect == 6) {
    vec3 detail = c - texture(picture, q, 2.).rgb;
    f = mix(f, clamp(texture(painted, q).rgb + .7 * dot(detail, vec3(.299, .587, .114)), 0., 1.), strength);
    colour = vec4(mix(b, f, a), 1);
    return;
  }
  if (effect == 3) {
    vec2 t = (p - .5) * cover + .5;
    ground = texture(behind, t).rgb;
    light = textureLod(behind, t, log2(float(textureSize(behind, 0).x)) - 4.).rgb;
  }
  // Light wrap: bright parts of the background spill over the outline onto the person.
  if (strength > 0. && a > .004) {
    float inside = textureLod(person, q, 3.).a;
    float wrap = strength * .5 * (1. - smoothstep(.2, .95, inside));
    f = mix(f, 1. - (1. - f) * (1. - light), wrap);
  }
  colour = vec4(mix(ground, f, a), 1);
}`;

/** The numbers of the effects in MIX. */
export const EFFECTS = {none: 0, blur: 1, colour: 2, picture: 3, cutout: 4, matte: 5, style: 6};

export const FRAGMENTS = {GRID, FIT, MEAN, FINE, LAYERS, DISC, MIX};
