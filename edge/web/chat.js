/**
 * The demo chat: joins the client (freeim.js), what is known (model.js) and the
 * screen (view.js). Each tab is a device of its own with its own session, kept in
 * sessionStorage, so that two tabs can be two people.
 *
 * ?mode=text in the address makes it speak readable text frames.
 */
import { Client, CloseReason, Code, DeviceType, RoomLeftReason, randomId, webStorage } from './freeim.js';
import { contentOf, Files, isPicture } from './files.js';
import { Inspector } from './inspector.js';
import { Chats } from './model.js';
import { View } from './view.js';
import { sentence } from './words.js';

// ---------------------------------------------------- the client and what is kept

// The client's state and the conversations are one record, written at once: a
// message is either in both or in neither, whenever the page is closed.
const record = webStorage('freeim-demo');
const kept = record.load() ?? {};
const chats = new Chats(kept.chats);
let clientState = kept.client ?? null;

const keep = () => record.save({ client: clientState, chats: chats.snapshot() });

const client = new Client({
  mode: new URLSearchParams(location.search).get('mode') === 'text' ? 'text' : 'binary',
  device: { type: DeviceType.WEB, name: browserName() },
  storage: {
    load: () => clientState,
    save: (state) => {
      clientState = state;
      keep();
    },
  },
});

function browserName() {
  const agent = navigator.userAgent;
  const browser = ['Firefox', 'Edg', 'Chrome', 'Safari'].find((name) => agent.includes(name)) ?? 'Browser';
  const system = ['Android', 'iPhone', 'Windows', 'Mac', 'Linux'].find((name) => agent.includes(name));
  return browser.replace('Edg', 'Edge') + (system ? ` on ${system}` : '');
}

// ------------------------------------------------------------------ what is shown

const LONGEST_TIMER = 2 ** 31 - 1; // ms
let open = null; // the Chat that is open
let connection = { state: 'offline' }; // the last "state" event, with retryAt
let lost = false; // the connection was lost and is not back yet
let notice = null; // the last from the server that nobody has put away
let avatar = ''; // this person's picture, as "file:ID"
const files = new Files((ids) => client.fileURLs(ids), draw);
const inspector = new Inspector(document.getElementById('frames'));
const view = new View({ signIn, signUp, signOut, find, open: openChat, close: closeChat, leave, send, attach, look, edit, earlier, banner: bannerPressed });

const asked = new WeakSet(); // the Chats whose people were asked for
let signedIn = false; // whether the chat is shown, not the form for signing in
let drawing = false;
let disappearing = 0; // the timer of the next message that disappears

/** Shows the state of things soon: many changes at once are drawn once. */
function draw() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(drawNow);
}

function drawNow() {
  drawing = false;
  if (!signedIn || !client.user) return;
  const { next, changed } = chats.expire(Date.now());
  if (changed) keep(); // what has disappeared is not kept either
  clearTimeout(disappearing);
  if (next !== Infinity) disappearing = setTimeout(draw, Math.min(Math.max(0, next - Date.now()), LONGEST_TIMER));
  view.render({
    user: client.user, avatar, chats, open, url: (address) => files.url(address), banner: banner(), writable: connection.state !== 'ended',
    connection: { state: connection.state, text: connectionText() },
  });
}

function showWelcome(known) {
  signedIn = false;
  view.showWelcome(known);
}

function showChat() {
  signedIn = true;
  draw();
}

function connectionText() {
  return { online: 'Online', connecting: 'Connecting…', waiting: 'Offline', ended: 'Signed out', offline: 'Offline' }[connection.state];
}

function banner() {
  switch (connection.state) {
    case 'online':
      return notice && { kind: 'info', text: notice.text || `${notice.event} ${notice.data}`, button: 'OK' };
    case 'connecting':
      if (lost) return lostBanner('Trying again…');
      return connection.slow ? { kind: 'info', text: 'Connecting…' } : null;
    case 'waiting':
      return lostBanner(`Trying again in ${Math.max(1, Math.ceil((connection.retryAt - Date.now()) / 1000))} s.`);
    case 'ended':
      return { kind: 'danger', text: endingText(), button: client.signedIn ? 'Use it here' : 'Sign in again' };
  }
  return null;
}

function lostBanner(when) {
  return { kind: 'warning', text: `No connection. ${when} What you write is sent then.`, button: 'Try now' };
}

function endingText() {
  const { ending, error } = connection;
  if (error?.code === Code.UNAUTHENTICATED) return 'Your session is not valid any more.';
  switch (ending?.reason) {
    case CloseReason.KICKED:
      return 'You signed in on another browser, so this one was signed out.';
    case CloseReason.SIGNED_OUT:
      return 'This device was signed out.';
    case CloseReason.REPLACED:
      return 'This session was opened in another window.';
    case CloseReason.REMOVED:
      return 'The operators of this server ended this session.';
  }
  if (error) return `The server ended this session. ${sentence(error)}`;
  return `The server ended this session: ${ending?.message.toLowerCase().replaceAll('_', ' ')}`;
}

// --------------------------------------------------------------- what the client says

client.addEventListener('state', ({ detail }) => {
  connection = { ...detail, retryAt: Date.now() + detail.retryInMs };
  if (detail.state !== 'connecting') lost = detail.state === 'waiting';
  if (detail.state === 'waiting') tick(connection);
  if (detail.state === 'connecting') soonSlow(connection);
  if (detail.state === 'online') welcome();
  draw();
});

client.addEventListener('message', ({ detail }) => {
  const item = chats.take(detail, isSeen);
  if (detail.message.about) client.follow(item, detail.message).then((changed) => changed && draw(), () => {}); // the next page has it
  if (detail.message.event === 'account.profile') learnMine();
  learnNames();
  draw();
});

client.addEventListener('outgoing', ({ detail }) => {
  chats.takeOutgoing(detail);
  draw();
});

client.addEventListener('held', ({ detail }) => {
  chats.takeHeld(detail);
  keep();
  draw();
});

client.addEventListener('receipt', ({ detail }) => {
  chats.takeReceipt(detail);
  draw();
});

client.addEventListener('reset', () => {
  chats.clear(client.user?.user_id);
  closeChat();
});

client.addEventListener('roommessage', ({ detail }) => {
  chats.takeRoom(detail, isSeen);
  keep();
  draw();
});

client.addEventListener('roomskip', ({ detail }) => {
  chats.inRoom(detail.room).skip(detail.ranges);
  draw();
});

client.addEventListener('roominfo', ({ detail }) => {
  chats.inRoom(detail.room).members = detail.members;
  draw();
});

client.addEventListener('roompresence', ({ detail }) => {
  const chat = chats.inRoom(detail.room);
  chat.members = Math.max(1, chat.members + detail.came.length - detail.went.length);
  draw();
});

client.addEventListener('roomleft', ({ detail }) => {
  const { room, reason, message, error } = detail;
  const why = { [RoomLeftReason.REMOVED]: 'An admin removed you.', [RoomLeftReason.BANNED]: 'You are banned here.', [RoomLeftReason.CLOSED]: 'The room is closed.' };
  chats.inRoom(room).left = why[reason] ?? (error ? sentence(error) : message);
  keep();
  draw();
});

client.addEventListener('synced', () => {
  keep();
  learnNames();
});

client.addEventListener('notice', ({ detail }) => {
  notice = detail;
  draw();
});

client.addEventListener('fault', ({ detail }) => console.warn('freeim:', detail));
client.addEventListener('frame', ({ detail }) => inspector.add(detail));

const isSeen = (chat) => chat === open && !document.hidden;

/** Online as somebody: the conversations are his. */
function welcome() {
  if (chats.me !== client.user.user_id) chats.clear(client.user.user_id);
  for (const chat of chats.rooms) if (!chat.left && !client.rooms.includes(chat.room)) join(chat.room, chat.seq).catch(() => {});
  askHeld().catch(() => {}); // the next connection asks again
  files.again();
  learnMine();
  learnLooks(true);
}

/** What waits for a decision, and what was decided while this page was away. */
async function askHeld() {
  let afterHeldId = '';
  do {
    const { held, has_more: hasMore } = await client.held({ afterHeldId, limit: 100 });
    for (const one of held) chats.takeHeld(one);
    afterHeldId = hasMore ? held.at(-1).held_id : '';
  } while (afterHeldId);
  keep();
  draw();
}

/** Comes into a room; what is known of it already is not asked for again. */
async function join(room, afterSeq = 0) {
  const { info } = await client.joinRoom(room, { afterSeq });
  const chat = chats.inRoom(info.room);
  Object.assign(chat, { members: Math.max(1, info.members ?? 0), left: '' });
  keep();
  return chat;
}

/** Counts the seconds down while the client waits. */
function tick(waiting) {
  if (connection !== waiting) return;
  draw();
  setTimeout(() => tick(waiting), 1000);
}

/** A banner for a connection that takes longer than a blink. */
function soonSlow(connecting) {
  setTimeout(() => {
    connecting.slow = true;
    draw();
  }, 700);
}

/** Asks who the people are that wrote first. */
function learnNames() {
  for (const chat of chats.list.filter((one) => one.peerId && !one.room && !one.account && !asked.has(one))) {
    asked.add(chat);
    client.findUser({ user_id: chat.peerId }).then(learn, () => asked.delete(chat));
  }
}

function learn(user) {
  chats.takeUser(user);
  keep();
  draw();
  learnLooks();
}

/** Asks how the people in the list look: all of them with each connection, since then who is new. */
async function learnLooks(anew = false) {
  const people = chats.list.filter(({ peerId, room, avatar: known }) => peerId && !room && (anew || !known)).map(({ peerId }) => peerId);
  if (people.length === 0) return;
  await client.profiles(people.slice(0, 50)).then((profiles) => chats.takeLooks(profiles), () => {}); // the next connection asks again
  draw();
}

/** Asks how this person looks, which another device may have changed. */
async function learnMine() {
  await client.profile().then((mine) => { avatar = mine.avatar ?? ''; }, () => {});
  draw();
}

// --------------------------------------------------------------------- what people do

async function signIn({ account, password }) {
  view.busy(true);
  view.failSignIn('');
  try {
    await client.signIn({ account, password });
    showChat();
  } catch (error) {
    view.failSignIn(signInText(error));
  } finally {
    view.busy(false);
  }
}

async function signUp({ account, password, nickname }) {
  view.busy(true);
  view.failSignIn('');
  try {
    await client.signUp({ account, password, nickname });
  } catch (error) {
    view.failSignIn(signInText(error));
    view.busy(false);
    return;
  }
  await signIn({ account, password });
}

function signInText(error) {
  switch (error.code) {
    case Code.BAD_CREDENTIALS:
      return 'There is no such account with this password.';
    case Code.ALREADY_EXISTS:
      return 'This account name is taken.';
    case undefined:
      return 'The server does not answer. Is it running?';
  }
  return sentence(error);
}

async function signOut() {
  const { account } = client.user;
  try {
    await client.signOut();
  } catch {
    // the server could not be told; here the session is forgotten all the same
  }
  chats.clear(0);
  files.forget();
  avatar = '';
  open = null;
  keep();
  showWelcome({ account });
}

async function find(account) {
  if (account.startsWith('#')) return enter(account.slice(1).trim());
  try {
    const user = await client.findUser({ account });
    chats.takeUser(user);
    view.clearFind();
    openChat(chats.with(user.user_id));
  } catch (error) {
    view.failFind(error.code === Code.NOT_FOUND ? `Nobody has the account “${account}”.` : findText(error));
  }
}

/** Joins the room that was typed as #name. */
async function enter(room) {
  try {
    const chat = await join(room, chats.rooms.find((one) => one.room === room)?.seq);
    view.clearFind();
    openChat(chat);
  } catch (error) {
    view.failFind(error.code === Code.NOT_FOUND ? `There is no room “${room}”.` : findText(error));
  }
}

async function leave() {
  const { room } = open;
  chats.remove(open);
  keep();
  closeChat();
  await client.leaveRoom(room).catch(() => {}); // with its connection a session leaves all rooms
}

const findText = (error) => (error.code === undefined ? 'Not now: there is no connection.' : sentence(error));

function openChat(chat) {
  open = chat;
  markSeen();
  if (chat.items.length === 0) earlier();
  draw();
}

function closeChat() {
  open = null;
  draw();
}

function markSeen() {
  if (!open?.unseen || document.hidden) return;
  open.unseen = 0;
  keep();
  draw();
}

document.addEventListener('visibilitychange', markSeen);

/** Gives whether the text was taken. */
function send(text) {
  if (open.room) return sendRoom(open, text);
  try {
    chats.takeOutgoing(client.send(open.peerId || open.id, text));
  } catch {
    return false; // too many wait already
  }
  draw();
  return true;
}

function sendRoom(chat, text) {
  const clientId = randomId();
  chat.putWritten(clientId, text);
  client.sendRoom(chat.room, text, { clientId }).then(({ room }) => {
    if (!room) return;
    chat.remove(clientId); // a rule sent it to another room
    draw();
  }, (error) => {
    chat.refuse(clientId, error);
    draw();
  });
  draw();
  return true;
}

/** Uploads files, and sends each as a message. An upload ends with the page. */
function attach(chosen) {
  for (const file of chosen) sendFile(open, file);
}

async function sendFile(chat, file) {
  const clientId = randomId();
  const onProgress = (sent, size) => {
    chat.putUpload(clientId, file.name, size ? sent / size : 1);
    draw();
  };
  onProgress(0, file.size);
  try {
    const uploaded = await client.upload(file, { onProgress });
    const content = await contentOf(file, uploaded);
    chats.takeOutgoing(client.send(chat.peerId || chat.id, '', { clientId, ...content }));
  } catch (error) {
    chat.failUpload(clientId, file.name, error instanceof RangeError ? 'Too many messages wait already.' : sentence(error));
  }
  draw();
}

/** Takes a picture as this person's. */
async function look(file) {
  try {
    if (!isPicture(file.type)) throw new RangeError('This is no picture that others can see.');
    const { id } = await client.upload(file);
    avatar = (await client.updateProfile({ avatar: `file:${id}` })).avatar;
  } catch (error) {
    notice = { text: error instanceof RangeError ? error.message : sentence(error) };
  }
  draw();
}

/** A refused message goes back into the composer; one that is no text is just removed. */
function edit(item) {
  open.remove(item.key);
  keep();
  if (!item.media && !item.upload) view.compose(item.text);
  draw();
}

async function earlier() {
  const chat = open;
  try {
    const read = chat.room ? client.roomHistory(chat.room, { beforeSeq: chat.firstSeq }) : client.history(chat.id, { beforeSeq: chat.firstSeq });
    const page = await read;
    view.keepPlace(() => {
      chats.takeHistory(chat, page);
      drawNow();
    });
  } catch {
    // the button stays
  }
}

function bannerPressed() {
  if (connection.state === 'online') {
    notice = null;
    draw();
  } else if (lost) client.retry();
  else if (client.signedIn) client.connect().catch(() => {}); // the banner tells
  else showWelcome({ account: client.user.account });
}

function bindInspector() {
  const [drawer, opener] = ['inspector', 'inspector-open'].map((id) => document.getElementById(id));
  const toggle = (shown) => {
    drawer.hidden = !shown;
    opener.hidden = shown;
    opener.ariaExpanded = String(shown);
    document.getElementById('app').classList.toggle('inspecting', shown);
    if (shown) inspector.scrollToEnd();
  };
  opener.onclick = () => toggle(true);
  document.getElementById('inspector-close').onclick = () => toggle(false);
  document.getElementById('inspector-clear').onclick = () => inspector.clear();
  document.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape') return;
    if (!drawer.hidden) toggle(false);
    else if (open) closeChat();
  });
}

// -------------------------------------------------------------------------- the start

bindInspector();
for (const out of client.queued) if (client.user) chats.takeOutgoing(out);
if (client.signedIn) {
  client.connect().catch(() => {}); // the banner tells
  showChat();
} else {
  showWelcome();
}
