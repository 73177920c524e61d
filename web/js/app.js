// The user interface of the page: buttons, keys and texts. studio.js does the work.
import {showBackdrops, showColours} from './choices.js';
import {fetchBytes} from './model.js';
import {keepForOffline} from './offline.js';
import {$, attempt, say} from './page.js';
import {Results} from './results.js';
import {onDropOrPaste, openPicture} from './sources.js';
import {Studio} from './studio.js';

const query = new URLSearchParams(location.search);
const NAMES = {
  blur: 'blurred background', colour: 'plain background', picture: 'another background',
  cutout: 'cut-out', matte: 'matte', style: 'painted person',
};
const STRENGTHS = {blur: 0.5, colour: 0.3, picture: 0.4, style: 1};

const studio = new Studio($('canvas'), {
  backend: query.get('backend') ?? 'auto', painter: query.get('painter') ?? undefined,
});
const results = new Results(studio);
const models = [];
let facingMode = 'user';
let addBackdrop = null;

// Pictures in

async function openFile(file) {
  if (file.name?.endsWith('.tflite')) await openNetwork(file);
  else if (await attempt(() => studio.openPhoto(file).then(() => true))) sayWhatIsShown();
}

async function openNetwork(file) {
  say(`Loading ${file.name} …`);
  await attempt(async () => {
    const bytes = new Uint8Array(await file.arrayBuffer());
    try {
      await studio.useNetwork(bytes);
      listed('network', file);
    } catch (error) {
      if (!error.paints) throw error;
      await studio.useStyle(bytes);
      listed('style', file);
      $('painted').hidden = false;
    }
    ready(file.name);
  });
}

/** Adds a file of the user, which is in use already, to a list, where it can be chosen again. */
function listed(id, file) {
  const number = models.push({name: file.name, bytes: file.size, own: file}) - 1;
  $(id).add(new Option(file.name, number, false, true));
}

/** Returns the address of a model, or the bytes of the user's file. */
async function sourceOf({file, own}) {
  return own ? new Uint8Array(await own.arrayBuffer()) : new URL(`models/${file}`, location.href);
}

async function sample() {
  const bytes = await attempt(() => fetchBytes('sample.jpg'));
  if (bytes) await openFile(new File([bytes], 'sample.jpg', {type: 'image/jpeg'}));
}

async function toggleCamera() {
  if (studio.camera.running) {
    studio.stopCamera();
    return;
  }
  say('Starting the camera …');
  await startCamera();
}

let starting = false;
/** Starts the camera once, also if it is asked for again before the browser permits it. */
async function startCamera() {
  if (starting) return;
  starting = true;
  await attempt(() => studio.startCamera({facingMode}));
  starting = false;
}

/** Shows the controls for a picture. */
function shown() {
  const there = studio.frame !== null;
  $('empty').hidden = there;
  $('view').hidden = $('corner').hidden = !there;
  $('save').disabled = $('copy').disabled = !there;
  $('copy').hidden = !navigator.clipboard?.write;
  $('stats').hidden = !there || !$('numbers').checked;
  describe();
}

function sayWhatIsShown() {
  const {width, height, alpha} = studio.frame;
  if (!alpha) say('Loading the network …');
  else if (alpha.data.some((value) => value >= 0.5)) say(`${width} × ${height} pixels.`);
  else say('Nobody was found in this picture.');
}

let aspect = 0;

function describe() {
  const {effect} = studio.look;
  if (studio.frame) {
    const {width, height} = studio.frame;
    aspect = width / height;
    $('view').style.setProperty('--aspect', aspect);
    $('view').style.setProperty('--pixels', width);
  }
  $('view').classList.toggle('clear', effect === 'cutout');
  studio.canvas?.setAttribute('aria-label', `Result: ${NAMES[effect]}`);
}

// The look

function setEffect(effect) {
  for (const part of document.querySelectorAll('.options')) {
    part.hidden = !part.dataset.for.split(' ').includes(effect);
  }
  const strength = STRENGTHS[effect] ?? 0.5;
  $('strength').value = 100 * strength;
  $('strength-name').textContent = ['colour', 'picture'].includes(effect)
    ? 'Light from the background' : 'Strength';
  showStrength();
  attempt(() => studio.set({effect, strength}).then(describe));
}

function showStrength() {
  $('strength-value').textContent = `${Math.round($('strength').value)} %`;
}

function setStrength() {
  const {effect} = studio.look;
  STRENGTHS[effect] = $('strength').value / 100;
  showStrength();
  soon(() => studio.set({strength: STRENGTHS[effect]}));
}

let waiting = null;
/** Draws once for all changes before the next frame of the screen. */
function soon(change) {
  if (!waiting) requestAnimationFrame(() => { waiting(); waiting = null; });
  waiting = change;
}

function toggleCompare() {
  const on = $('compare').getAttribute('aria-pressed') !== 'true';
  $('compare').setAttribute('aria-pressed', on);
  $('split').hidden = $('before').hidden = !on;
  studio.set({split: on ? $('split').value / 100 : 0});
}

async function openBackground(file) {
  await attempt(async () => addBackdrop(await openPicture(file), file.name));
}

// Events of the studio

let filming = false;
let saved = null; // the end of the last recording

function changed() {
  const {running} = studio.camera;
  $('camera').querySelector('span').textContent = running ? 'Stop camera' : 'Use camera';
  $('record').hidden = !running || !window.MediaRecorder;
  $('flip').hidden = !running || !matchMedia('(pointer: coarse)').matches;
  if (!running && results.records) saved = results.toggleRecord();
  shown();
  if (running !== filming) say(running ? 'The camera is on.' : 'The camera is off.');
  filming = running;
}

function showStats({detail: {rate, network, smooth, paint, draw}}) {
  if (studio.frame && studio.frame.width / studio.frame.height !== aspect) describe(); // a phone was turned
  const ms = (value) => `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
  const parts = [];
  if (rate !== undefined) parts.push(`${rate} fps`);
  if (network !== undefined) parts.push(`alpha ${ms(network)}`);
  if (smooth !== undefined) parts.push(`smooth ${ms(smooth)}`);
  if (paint !== undefined) parts.push(`paint ${ms(paint)}`);
  if (draw !== undefined) parts.push(`draw ${ms(draw)}`);
  $('stats').textContent = parts.join('  ·  ');
}

function backendName() {
  return studio.network.backend === 'webgpu' ? 'the graphics processor (WebGPU)' : 'the processor (WebAssembly)';
}

function ready(name) {
  $('about').textContent = `${name} runs on ${backendName()}.`;
  if (studio.frame && !studio.frame.live) sayWhatIsShown();
  else say(`Ready, on ${backendName()}.`);
}

async function chooseNetwork() {
  const model = models[$('network').value];
  say(`Loading the network, ${(model.bytes / 1e6).toFixed(1)} MB …`);
  await attempt(async () => {
    if (await studio.useNetwork(await sourceOf(model))) ready(`“${model.name}”`);
  });
}

async function chooseStyle() {
  const model = models[$('style').value];
  say(`Loading the style, ${(model.bytes / 1e6).toFixed(1)} MB …`);
  await attempt(async () => {
    if (await studio.useStyle(await sourceOf(model))) say('Ready.');
  });
}

const ACTIONS = {open: () => $('photo').click(), camera: toggleCamera, sample};
const KEYS = {
  o: ACTIONS.open, c: toggleCamera, b: () => studio.frame && toggleCompare(), s: () => studio.frame && results.save(),
  r: () => studio.camera.running && results.toggleRecord(),
};

function onKey(event) {
  const typing = /^(text|color)$/.test(event.target.type) || event.target.tagName === 'SELECT';
  if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
  const effects = [...document.querySelectorAll('#effects label:not([hidden]) input')];
  const effect = effects[Number(event.key) - 1];
  if (effect) effect.click();
  else KEYS[event.key.toLowerCase()]?.();
}

function wire() {
  for (const button of document.querySelectorAll('[data-do]')) {
    button.addEventListener('click', () => ACTIONS[button.dataset.do]());
  }
  const files = {photo: openFile, background: openBackground, tflite: openNetwork};
  for (const [id, take] of Object.entries(files)) {
    $(id).addEventListener('change', () => {
      const [file] = $(id).files;
      $(id).value = '';
      if (file) take(file);
    });
  }
  for (const input of document.querySelectorAll('[name=effect]')) {
    input.addEventListener('change', () => setEffect(input.value));
  }
  $('controls').addEventListener('submit', (event) => event.preventDefault());
  $('strength').addEventListener('input', setStrength);
  $('split').addEventListener('input', () => soon(() => studio.set({split: $('split').value / 100})));
  $('compare').addEventListener('click', toggleCompare);
  $('save').addEventListener('click', () => results.save());
  $('copy').addEventListener('click', () => results.copy());
  $('record').addEventListener('click', () => results.toggleRecord());
  $('network').addEventListener('change', chooseNetwork);
  $('style').addEventListener('change', chooseStyle);
  $('own').addEventListener('click', () => $('tflite').click());
  $('mirror').addEventListener('change', () => { studio.mirror = $('mirror').checked; });
  $('numbers').addEventListener('change', shown);
  $('flip').addEventListener('click', () => {
    if (starting) return;
    facingMode = facingMode === 'user' ? 'environment' : 'user';
    startCamera();
  });
  studio.addEventListener('changed', changed);
  studio.addEventListener('drawn', showStats);
  studio.addEventListener('failed', async ({detail}) => {
    await saved; // its message would replace this one
    say(detail.message, true);
  });
  onDropOrPaste(openFile, {over: (on) => { $('drop').hidden = !on; }});
  addEventListener('keydown', onKey);
}

async function start() {
  wire();
  showColours($('colours'), studio.look.colour, (colour) => soon(() => studio.set({colour})));
  addBackdrop = showBackdrops($('backdrops'), (picture) => studio.setBackground(picture),
    () => $('background').click());
  setEffect('blur');
  await keepForOffline();
  const built = JSON.parse(new TextDecoder().decode(await fetchBytes('models/models.json')));
  for (const model of built) {
    const list = $(model.paints ? 'style' : 'network');
    const text = model.about ? `${model.name}: ${model.about}` : model.name;
    list.add(new Option(text, models.push(model) - 1));
  }
  if (!studio.network) await chooseNetwork(); // the user's own may be quicker
  if ($('style').options.length) {
    $('painted').hidden = false;
    $('painted').addEventListener('change', () => studio.style ?? chooseStyle());
  }
}

window.studio = studio; // for the console and for tests
attempt(start);
