/**
 * The demo's screen. render() makes the document show a state; what people do is
 * told to the actions given to the constructor. Data reaches the document only
 * through textContent, so no message can become markup.
 */

import { showMedia } from './files.js';
import { goneText } from './model.js';

const byId = (id) => document.getElementById(id);

/** The bubbles' marks, drawn on a grid of 16. */
const MARKS = {
  queued: { label: 'Waiting to be sent', path: 'M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 5v3.2l2 1.3' },
  held: { label: 'Waits for a decision', path: 'M5.5 4v8M10.5 4v8' },
  committed: { label: 'On the server', path: 'm4 8.5 3 3 5.5-6.5' },
  delivered: { label: 'Delivered', path: 'm1.5 8.5 3 3 5.5-6.5M8.5 11l.5.5 5.5-6.5' },
  refused: { label: 'Not sent', path: 'M8 2.5v7M8 12.5v.6' },
};

export class View {
  #actions;
  #signingUp = false;
  #shown = null; // the Chat that the messages on the screen belong to
  #following = true; // the newest message stays in sight
  #unread = false; // messages came below what is on the screen

  /** @param actions functions: signIn, signUp, signOut, find, open, close, leave, send, attach, look, edit, earlier, banner */
  constructor(actions) {
    this.#actions = actions;
    this.#bindWelcome();
    this.#bindSidebar();
    this.#bindConversation();
    byId('banner-button').onclick = () => this.#actions.banner();
  }

  // ---------------------------------------------------------------- what people do

  #bindWelcome() {
    byId('mode-sign-in').onclick = () => this.#choose(false);
    byId('mode-sign-up').onclick = () => this.#choose(true);
    byId('sign-in').onsubmit = (event) => {
      event.preventDefault();
      const [account, password, nickname] = ['account', 'password', 'nickname'].map((id) => byId(id).value);
      const who = { account: account.trim().toLowerCase(), password, nickname: nickname.trim() };
      this.#actions[this.#signingUp ? 'signUp' : 'signIn'](who);
    };
  }

  #choose(signingUp) {
    this.#setMode(signingUp);
    byId('account').focus();
  }

  #setMode(signingUp) {
    this.#signingUp = signingUp;
    byId('mode-sign-in').ariaPressed = String(!signingUp);
    byId('mode-sign-up').ariaPressed = String(signingUp);
    byId('nickname-field').hidden = !signingUp;
    byId('password').autocomplete = signingUp ? 'new-password' : 'current-password';
    byId('sign-in-button').textContent = signingUp ? 'Create account' : 'Sign in';
    byId('welcome-subtitle').textContent = signingUp ? 'An account takes a name and a password.' : 'Sign in to go on.';
    this.failSignIn('');
  }

  #bindSidebar() {
    byId('sign-out').onclick = () => this.#actions.signOut();
    byId('my-avatar').onclick = () => byId('avatar-file').click();
    byId('avatar-file').onchange = () => this.#chosen(byId('avatar-file'), ([file]) => this.#actions.look(file));
    byId('find').oninput = () => this.failFind('');
    byId('new-chat').onsubmit = (event) => {
      event.preventDefault();
      const typed = byId('find').value.trim();
      if (typed) this.#actions.find(typed.startsWith('#') ? typed : typed.toLowerCase());
    };
    byId('conversations').onkeydown = (event) => moveFocus(event, byId('conversations'));
  }

  #bindConversation() {
    byId('back').onclick = () => this.#actions.close();
    byId('leave').onclick = () => this.#actions.leave();
    byId('earlier').onclick = () => this.#actions.earlier();
    byId('newest').onclick = () => this.#scrollToEnd();
    const scroller = byId('scroller');
    scroller.onscroll = () => {
      this.#following = this.#atEnd();
      if (this.#following) this.#markRead();
    };
    new ResizeObserver(() => this.#following && this.#scrollToEnd()).observe(scroller);
    byId('composer').onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    const text = byId('text');
    text.oninput = () => this.#fit(text);
    text.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    };
    this.#bindFiles(text);
  }

  /** Files are chosen, pasted or dropped. */
  #bindFiles(text) {
    const attach = (event, files) => {
      if (!files?.length || byId('attach').hidden || byId('attach').disabled) return;
      event.preventDefault();
      this.#actions.attach([...files]);
    };
    byId('attach').onclick = () => byId('files').click();
    byId('files').onchange = () => this.#chosen(byId('files'), (files) => this.#actions.attach(files));
    text.onpaste = (event) => attach(event, event.clipboardData?.files);
    byId('conversation').ondragover = (event) => event.dataTransfer?.types.includes('Files') && event.preventDefault();
    byId('conversation').ondrop = (event) => attach(event, event.dataTransfer?.files);
  }

  /** Hands over what was chosen; the same can be chosen again. */
  #chosen(input, take) {
    const files = [...input.files];
    input.value = '';
    if (files.length) take(files);
  }

  #submit() {
    const text = byId('text').value.trim();
    if (!text || !this.#actions.send(text)) return;
    this.compose('');
    this.#scrollToEnd();
  }

  /** Puts a text into the composer, to be edited. */
  compose(text) {
    byId('text').value = text;
    this.#fit(byId('text'));
    byId('text').focus();
  }

  /** Lets the composer grow with its text. */
  #fit(text) {
    text.style.height = 'auto';
    text.style.height = `${Math.min(text.scrollHeight, 160)}px`;
    byId('send').disabled = text.disabled || text.value.trim() === '';
  }

  // ---------------------------------------------------------------- what is shown

  /** Shows the form for signing in, with what is known of the account. */
  showWelcome({ account = '', error = '' } = {}) {
    byId('app').hidden = true;
    byId('welcome').hidden = false;
    document.title = 'freeim';
    if (account) this.#setMode(false);
    if (account) byId('account').value = account;
    byId('password').value = '';
    this.busy(false);
    this.failSignIn(error);
    byId(account ? 'password' : 'account').focus();
  }

  failSignIn(error) {
    show('sign-in-error', error);
  }

  /** Whether the form waits for the server. */
  busy(busy) {
    byId('sign-in-button').disabled = busy;
    byId('sign-in-button').ariaBusy = String(busy);
  }

  failFind(error) {
    show('find-error', error);
  }

  clearFind() {
    byId('find').value = '';
    this.failFind('');
  }

  /** Shows a state: {user, avatar, chats, open, banner, connection, writable, url}; `open` is a Chat or null, `url` gives that of a file. */
  render(state) {
    byId('welcome').hidden = true;
    byId('app').hidden = false;
    byId('app').classList.toggle('reading', Boolean(state.open));
    document.title = state.chats.unseen ? `(${state.chats.unseen}) freeim` : 'freeim';
    this.#renderMe(state);
    this.#renderBanner(state.banner);
    this.#renderList(state);
    this.#renderPeer(state);
    this.#renderMessages(state);
  }

  #renderMe({ user, avatar: mine, connection, url }) {
    const name = user.nickname || user.account;
    byId('my-name').textContent = name;
    avatar(byId('my-avatar'), name, user.user_id, url(mine));
    byId('connection').textContent = connection.text;
    byId('connection-dot').dataset.state = connection.state;
  }

  #renderBanner(banner) {
    byId('banner').hidden = !banner;
    if (!banner) return;
    byId('banner').dataset.kind = banner.kind;
    setText(byId('banner-text'), banner.text);
    byId('banner-button').hidden = !banner.button;
    setText(byId('banner-button'), banner.button ?? '');
  }

  #renderList({ chats, open, url }) {
    byId('no-conversations').hidden = chats.list.length > 0;
    byId('conversations').hidden = chats.list.length === 0;
    reconcile(byId('conversations'), chats.list, (chat) => chat.id, () => this.#conversation(), (row, chat) => {
      const [button, picture, name, time, preview, unseen] = row.parts;
      button.onclick = () => this.#actions.open(chat);
      button.ariaCurrent = String(chat === open);
      avatar(picture, chat.name, chat.peerId, url(chat.avatar));
      setText(name, chat.name);
      setText(time, chat.last ? shortTime(chat.last.timeMs) : '');
      setText(preview, previewOf(chat));
      setText(unseen, chat.unseen > 99 ? '99+' : String(chat.unseen || ''));
      unseen.ariaLabel = `${chat.unseen} unseen`;
      unseen.hidden = chat.unseen === 0;
    });
  }

  #conversation() {
    const row = element('li');
    const parts = ['avatar', 'name', 'time', 'preview', 'unseen'].map((name) => element('span', name));
    parts[0].ariaHidden = 'true';
    const button = element('button', 'row', ...parts);
    button.type = 'button';
    row.append(button);
    row.parts = [button, ...parts];
    return row;
  }

  #renderPeer({ open, writable, url }) {
    for (const id of ['peer', 'scroller', 'composer']) byId(id).hidden = !open;
    byId('nothing-open').hidden = Boolean(open);
    const text = byId('text');
    const mayWrite = writable && !open?.left && !open?.silent;
    text.disabled = !mayWrite;
    text.placeholder = open?.left || (writable ? 'Message' : 'Sign in to write');
    byId('send').disabled = !mayWrite || text.value.trim() === '';
    byId('attach').hidden = Boolean(open?.room);
    byId('attach').disabled = !mayWrite;
    byId('leave').hidden = !open?.room;
    if (!open) return;
    avatar(byId('peer-avatar'), open.name, open.peerId, url(open.avatar));
    setText(byId('peer-name'), open.name);
    setText(byId('peer-account'), open.room ? open.left || `${open.members} here` : open.account ? `@${open.account}` : '');
    byId('earlier').hidden = !open.hasEarlier;
  }

  #renderMessages({ open, url }) {
    const changed = open !== this.#shown;
    if (changed) this.#following = true;
    const before = byId('messages').lastChild;
    this.#shown = open;
    if (changed) byId('messages').replaceChildren();
    const rows = open ? withDays(open.items) : [];
    reconcile(byId('messages'), rows, (row) => row.key, (row) => this.#row(row), (node, row) => this.#update(node, row, open, url));
    if (this.#following) this.#scrollToEnd();
    else if (byId('messages').lastChild !== before) this.#unread = true;
    byId('newest').hidden = !this.#unread;
    if (changed && open && matchMedia('(hover: hover)').matches) byId('text').focus();
  }

  #row(row) {
    if (row.day || row.skipped || row.event) return element('li', 'day', element('span'));
    const item = element('li', row.own ? 'message own' : 'message');
    const [bubble, media, text, note, time] = [element('div', 'bubble'), element('div', 'media'), element('p', 'text'), element('span', 'note'), element('time')];
    const [reason, who, quote, reactions] = [element('p', 'reason'), element('span', 'speaker'), element('p', 'quote'), element('p', 'reactions')];
    bubble.append(who, quote, media, text, element('span', 'meta', note, time));
    if (row.own) bubble.lastChild.append(mark());
    item.append(bubble, reactions, reason);
    item.parts = { who, quote, reactions, media, text, note, time, reason, mark: row.own ? bubble.lastChild.lastChild : null };
    return item;
  }

  #update(node, row, chat, url) {
    if (row.day) return setText(node.firstChild, row.day);
    if (row.skipped) return setText(node.firstChild, row.skipped === 1 ? 'One message is not shown' : `${row.skipped} messages are not shown`);
    if (row.event) return setText(node.firstChild, row.text);
    const { who, quote, reactions, media, text, note, time, reason, mark: sign } = node.parts;
    setText(who, row.own || row.follows ? '' : row.who ?? '');
    const became = row.became ?? {};
    setText(quote, became.recalled ? '' : chat.quoted?.(row) ?? '');
    const shown = showMedia(media, row, became.recalled ? '' : url(row.media?.file));
    setText(text, became.recalled ? goneText(became) : shown ? row.caption : row.text);
    node.classList.toggle('recalled', became.recalled === true);
    setText(reactions, (became.reactions ?? []).map(({ reaction, count }) => `${reaction} ${count}`).join('   '));
    setText(note, [row.forwarded && 'forwarded', became.edited_ms && !became.recalled && 'edited', row.rewritten && 'changed by a rule'].filter(Boolean).join(', '));
    setText(time, clock(row.timeMs));
    time.dateTime = new Date(row.timeMs).toISOString();
    const state = chat.stateOf(row);
    node.dataset.state = state;
    node.classList.toggle('follows', row.follows);
    if (sign) setMark(sign, state);
    if (reason.dataset.text === (row.reason ?? '')) return;
    reason.dataset.text = row.reason ?? '';
    reason.replaceChildren(...(row.reason ? [`${row.reason} `, this.#editButton(row)] : []));
  }

  #editButton(row) {
    const [word, label] = row.media || row.upload ? ['Remove', 'Remove this from the conversation'] : ['Edit', 'Edit this message and send it again'];
    const button = element('button', 'text', word);
    button.type = 'button';
    button.ariaLabel = label;
    button.onclick = () => this.#actions.edit(row);
    return button;
  }

  /** Keeps the messages on the screen where they are while earlier ones appear above. */
  keepPlace(change) {
    this.#following = this.#atEnd();
    const scroller = byId('scroller');
    const below = scroller.scrollHeight - scroller.scrollTop;
    change();
    scroller.scrollTop = scroller.scrollHeight - below;
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = byId('scroller');
    return scrollHeight - scrollTop - clientHeight < 60;
  }

  #scrollToEnd() {
    byId('scroller').scrollTop = byId('scroller').scrollHeight;
    this.#markRead();
  }

  #markRead() {
    this.#unread = false;
    byId('newest').hidden = true;
  }
}

// ------------------------------------------------------------- pieces of document

/** An element with a class and children; texts become text nodes. */
function element(tag, className = '', ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** Writes only what changed, so that selections and screen readers are left in peace. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function show(id, text) {
  byId(id).hidden = !text;
  setText(byId(id), text);
}

/** Makes a list's children those of `items`: kept by key, made, updated, in order. */
function reconcile(list, items, keyOf, make, update) {
  const known = new Map(Array.from(list.children, (node) => [node.key, node]));
  let place = list.firstChild;
  for (const item of items) {
    const node = known.get(keyOf(item)) ?? Object.assign(make(item), { key: keyOf(item) });
    known.delete(node.key);
    update(node, item);
    if (node === place) place = place.nextSibling;
    else list.insertBefore(node, place);
  }
  for (const node of known.values()) node.remove();
}

/** A person's picture; without one the initial of the name on a colour that belongs to the person. */
function avatar(node, name, userId, url) {
  if (!url) setText(node, (Array.from(name)[0] ?? '?').toUpperCase());
  else if (node.firstElementChild?.src !== new URL(url, location.href).href) node.replaceChildren(Object.assign(element('img'), { alt: '', src: url }));
  node.style.setProperty('--hue', String((userId * 137) % 360));
}

/** The last thing said in a conversation. */
function previewOf({ last, room }) {
  if (!last) return 'No messages yet';
  if (last.skipped) return '…';
  const who = last.own ? 'You: ' : room && last.who ? `${last.who}: ` : '';
  return who + last.text;
}

function mark() {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('class', 'mark');
  svg.setAttribute('role', 'img');
  svg.append(document.createElementNS(svg.namespaceURI, 'title'), document.createElementNS(svg.namespaceURI, 'path'));
  return svg;
}

function setMark(svg, state) {
  const { label, path } = MARKS[state];
  setText(svg.firstChild, label);
  if (svg.lastChild.getAttribute('d') !== path) svg.lastChild.setAttribute('d', path);
}

/** The arrow keys walk through a list of buttons. */
function moveFocus(event, list) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...list.querySelectorAll('button')];
  buttons[buttons.indexOf(document.activeElement) + step]?.focus();
}

// ------------------------------------------------------------------------- times

const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

function dayOf(ms) {
  const date = new Date(ms);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - date.setHours(0, 0, 0, 0)) / 86_400_000);
  if (days <= 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return date.toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
}

function shortTime(ms) {
  return dayOf(ms) === 'Today' ? clock(ms) : new Date(ms).toLocaleDateString([], { day: 'numeric', month: 'short' });
}

/** The items with a line for each day; one that follows another of the same person's closely says so. */
function withDays(items) {
  const rows = [];
  let before = null;
  for (const item of items) {
    const day = dayOf(item.timeMs);
    const sameDay = before && dayOf(before.timeMs) === day;
    if (!sameDay) rows.push({ key: `day ${day}`, day });
    const follows = Boolean(sameDay) && before.own === item.own && before.who === item.who && item.timeMs - before.timeMs < 120_000;
    rows.push({ ...item, follows });
    before = item;
  }
  return rows;
}
