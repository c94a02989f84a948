/**
 * What the demo knows of its conversations: plain data, no DOM and no network.
 * chat.js feeds it the client's events, view.js shows it, and its snapshot is
 * kept in the same record as the client's cursor, so the two never disagree.
 */
import { applyBecame, chatId, expire, HeldState, MessageKind } from './freeim.js';
import { sentence } from './words.js';

const KEPT_ITEMS = 50; // of a conversation, in a snapshot
const ANNOUNCEMENTS = 'a_all';

/** One conversation. An item is one bubble, from its queueing to its delivery. */
export class Chat {
  items = []; // {key, clientId, seq, own, text, kind, media, caption, timeMs, state, reason, rewritten, after, event}
  unseen = 0;
  deliveredSeq = 0;
  complete = false; // whether the first message is here

  constructor(id, peerId) {
    this.id = id;
    this.peerId = peerId;
    this.account = '';
    this.nickname = '';
    this.avatar = '';
  }

  get name() {
    if (this.id === ANNOUNCEMENTS) return 'Announcements';
    if (this.silent) return 'Notices';
    return this.nickname || this.account || (this.peerId ? `User ${this.peerId}` : this.id);
  }

  /** Whether only the server, or its operator, writes here. */
  get silent() {
    return this.id === ANNOUNCEMENTS || this.id.startsWith('n_');
  }

  get last() {
    return this.items.at(-1);
  }

  get firstSeq() {
    return this.items.find(({ seq }) => seq)?.seq ?? 0;
  }

  get hasEarlier() {
    return !this.complete && this.firstSeq > 1;
  }

  /** "queued", "held", "committed", "delivered" or "refused". */
  stateOf(item) {
    if (item.own && item.state === 'committed' && item.seq <= this.deliveredSeq) return 'delivered';
    return item.state;
  }

  /** Puts a committed message in, or completes the bubble that waited for it. */
  put(message, own) {
    if (message.about || message.kind === MessageKind.COMMAND) return this.#changed(message);
    const item = this.#find(message) ?? this.#add({ key: message.client_id || message.id, clientId: message.client_id, own });
    const { id, seq, time_ms: timeMs } = message;
    if (message.kind === MessageKind.EVENT) item.event = true;
    if (message.reply_to) item.replyTo = message.reply_to.message_id;
    if (message.origin) item.forwarded = true;
    if (message.expires_ms) item.expires_ms = message.expires_ms;
    if (!((item.became?.revision ?? 0) > (message.became?.revision ?? 0))) Object.assign(item, shownOf(message), { became: message.became ?? item.became });
    Object.assign(item, { id, seq, timeMs, state: 'committed', reason: '' });
    if (!seq) item.after ??= this.#newestSeq();
    this.#sort();
    return item;
  }

  /** Shows that a message that is here was recalled, and gives it: the client's `follow` reads what else became of it. */
  #changed({ about, became }) {
    const item = about && this.items.findLast(({ id }) => id === about.message_id);
    if (item && became?.recalled) applyBecame(item, became);
    return item ?? {}; // one that is for programs is not shown
  }

  /** What a reply quotes of the message that it is to. */
  quoted({ replyTo }) {
    if (!replyTo) return '';
    const item = this.items.findLast(({ id }) => id === replyTo);
    return !item ? 'A message' : item.became?.recalled ? goneText(item.became) : item.text;
  }

  /** Shows a message of ours as far as it has come. */
  putOutgoing(out) {
    if (out.message) {
      this.put(out.message, true).rewritten = out.rewritten;
      return;
    }
    const item = this.#find({ client_id: out.clientId }) ??
      this.#add({ key: out.clientId, clientId: out.clientId, own: true, timeMs: Date.now(), seq: 0 });
    Object.assign(item, shownOf({ ...out.content, text: out.text }), { state: out.state });
    if (out.state === 'refused') Object.assign(item, { reason: sentence(out.error), after: this.#newestSeq() });
    this.#sort();
  }

  /** Shows a file of ours that is on its way: `share` of it has gone. */
  putUpload(clientId, name, share) {
    const item = this.#find({ client_id: clientId }) ?? this.#add({ key: clientId, clientId, own: true, timeMs: Date.now(), seq: 0 });
    Object.assign(item, { text: `📎 ${name} · ${Math.floor(share * 100)} %`, state: 'queued', upload: true });
    this.#sort();
  }

  /** Shows that a file of ours did not get there. */
  failUpload(clientId, name, reason) {
    const item = this.#find({ client_id: clientId });
    if (item) Object.assign(item, { text: `📎 ${name}`, state: 'refused', reason, after: this.#newestSeq() });
    this.#sort();
  }

  /** Shows a message of ours that waits for a decision, or was denied. */
  putHeld({ client_id: clientId, text, time_ms: timeMs, state, reason }) {
    const shown = this.#find({ client_id: clientId });
    if (shown?.state === 'committed' || state === HeldState.APPROVED || (state === HeldState.DENIED && !shown)) return;
    const item = shown ?? this.#add({ key: clientId, clientId, own: true, seq: 0 });
    Object.assign(item, { text, timeMs, state: 'held' });
    if (state === HeldState.DENIED) Object.assign(item, { state: 'refused', reason: reason || 'Not approved.', after: this.#newestSeq() });
    this.#sort();
  }

  remove(key) {
    this.items = this.items.filter((item) => item.key !== key);
  }

  #find({ id, client_id: clientId }) {
    return this.items.findLast((item) => (id && item.id === id) || (clientId && item.own && item.clientId === clientId));
  }

  #add(item) {
    this.items.push(item);
    return item;
  }

  #newestSeq() {
    return Math.max(0, ...this.items.map(({ seq }) => seq));
  }

  #sort() {
    this.items.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
  }
}

/** What is shown in the place of a message that was recalled, or has disappeared. */
export const goneText = ({ expired }) => (expired ? 'Message disappeared' : 'Message recalled');

/** What a bubble shows of a message: its text, and beside it what is no text. */
function shownOf(message) {
  const { kind = MessageKind.TEXT, media, text = '' } = message;
  return { text: textOf({ ...message, kind, text }), kind, media, caption: text };
}

/** A message in one text, whatever its kind. */
function textOf({ kind, event, data, text, media, place, payload }) {
  const named = (sign, name) => [sign, name, text].filter(Boolean).join(' ');
  switch (kind) {
    case MessageKind.EVENT: return `${event} ${data}`;
    case MessageKind.IMAGE: return named('🖼', media?.name);
    case MessageKind.VIDEO: return named('🎬', media?.name);
    case MessageKind.VOICE: return named('🎤', media?.duration_ms ? `${Math.ceil(media.duration_ms / 1000)} s` : '');
    case MessageKind.FILE: return named('📎', media?.name);
    case MessageKind.PLACE: return named('📍', place?.name || place?.address || 'A place');
    case MessageKind.CUSTOM: return text || payload?.name || '';
    default: return text;
  }
}

/** Committed ones by seq, those that are in no log where they happened, what is queued or held last. */
const rank = (item) => item.seq || (item.state === 'queued' || item.state === 'held' ? Infinity : item.after + 0.5);

/** A room. Its bubbles say who speaks; nothing in it is delivered to anybody in particular. */
export class RoomChat extends Chat {
  members = 0;
  left = ''; // why it is over; empty while one is in it

  constructor(id, room) {
    super(id, hueOf(room));
    this.room = room;
  }

  get name() {
    return `#${this.room}`;
  }

  stateOf(item) {
    return item.state;
  }

  /** The client's "roommessage" event, or an entry of the history. */
  putRoom(message, own) {
    const text = { 1: '🎁 ', 2: '📢 ', 3: '⚖ ' }[message.kind] ?? '';
    const item = this.put({ ...message, text: text + (message.kind === 3 ? moderationText(message.moderation) : message.text) }, own);
    item.who = message.nickname || `User ${message.sender_id}`;
  }

  /** What was written here, until it comes back as a message. */
  putWritten(clientId, text) {
    this.putOutgoing({ clientId, text, state: 'queued', message: null });
  }

  refuse(clientId, error) {
    const out = { clientId, state: 'refused', error, message: null };
    if (this.items.some((item) => item.clientId === clientId && item.state === 'queued')) this.putOutgoing(out);
  }

  /** Seqs that are not shown: one line tells how many. */
  skip(ranges) {
    const count = ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
    const seq = ranges[0][0];
    this.items.push({ key: `skip ${seq}`, skipped: count, seq, timeMs: this.last?.timeMs ?? Date.now(), text: '', state: 'committed' });
    this.items.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
  }

  /** Up to which seq the room is known. */
  get seq() {
    return Math.max(0, ...this.items.map(({ seq }) => seq ?? 0));
  }
}

function hueOf(name) {
  return Array.from(name).reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 9973, 7);
}

function moderationText({ verb = 0, user_id: user = 0, reason = '' } = {}) {
  const what = ['', 'muted', 'allowed to speak again', 'removed', 'banned', 'allowed to come again', 'given another role', 'settings changed', 'the room is closed'];
  return `${user ? `User ${user} was ` : ''}${what[verb] ?? ''}${reason ? `: ${reason}` : ''}`;
}

/** All conversations of one person. */
export class Chats {
  me = 0; // user ID
  #chats = new Map(); // conversation ID -> Chat

  constructor(snapshot = {}) {
    this.me = snapshot.me ?? 0;
    for (const { id, peerId, ...rest } of snapshot.chats ?? []) {
      this.#chats.set(id, Object.assign(rest.room ? new RoomChat(id, rest.room) : new Chat(id, peerId), rest));
    }
  }

  /** The newest conversation first. */
  get list() {
    const at = (chat) => chat.last?.timeMs ?? Infinity;
    return [...this.#chats.values()].sort((a, b) => at(b) - at(a));
  }

  get unseen() {
    return this.list.reduce((sum, chat) => sum + chat.unseen, 0);
  }

  get(conversationId) {
    return this.#chats.get(conversationId);
  }

  /** The chat with a person, made if there is none. */
  with(peerId) {
    return this.#open(chatId(this.me, peerId));
  }

  #open(conversationId) {
    let chat = this.#chats.get(conversationId);
    if (!chat) {
      chat = new Chat(conversationId, this.#peerOf(conversationId));
      this.#chats.set(conversationId, chat);
    }
    return chat;
  }

  /** A room by name, made if there is none. */
  inRoom(room) {
    const id = `r_${room}`;
    if (!this.#chats.has(id)) this.#chats.set(id, new RoomChat(id, room));
    return this.#chats.get(id);
  }

  get rooms() {
    return this.list.filter((chat) => chat.room);
  }

  remove(chat) {
    this.#chats.delete(chat.id);
  }

  /** The client's "roommessage" event. */
  takeRoom({ message, own }, seen) {
    const chat = this.inRoom(message.room);
    chat.putRoom(message, own);
    if (!own && !seen(chat)) chat.unseen++;
  }

  /** The other person of a chat, c_<lower user ID>_<higher user ID>; 0: it is none. */
  #peerOf(conversationId) {
    if (!conversationId.startsWith('c_')) return 0;
    const [low, high] = conversationId.split('_').slice(1).map(Number);
    return low === this.me ? high : low;
  }

  /** The client's "message" event; gives the item that it is, or is about. `seen`: the person is looking at that conversation. */
  take({ message, own }, seen) {
    const chat = this.#open(message.conversation_id);
    const item = chat.put(message, own);
    if (!own && !message.about && message.kind !== MessageKind.COMMAND && !seen(chat)) chat.unseen++;
    return item;
  }

  /** The client's "outgoing" event, or a message that was just queued. */
  takeOutgoing(out) {
    const asked = typeof out.to === 'number' ? this.with(out.to) : this.#open(out.to);
    const chat = out.message ? this.#open(out.message.conversation_id) : asked;
    if (chat !== asked) asked.remove(out.clientId); // a rule sent it elsewhere
    chat.putOutgoing(out);
  }

  /** The client's "held" event. */
  takeHeld(held) {
    this.#open(held.conversation_id).putHeld(held);
  }

  /** The client's "receipt" event. */
  takeReceipt({ conversation_id: id, seq }) {
    const chat = this.#open(id);
    chat.deliveredSeq = Math.max(chat.deliveredSeq, seq);
  }

  /** A page of a conversation's history. */
  takeHistory(chat, { messages, has_more: hasMore }) {
    for (const message of messages) {
      if (chat.room) chat.putRoom(message, message.sender_id === this.me);
      else chat.put(message, message.sender_id === this.me);
    }
    chat.complete = !hasMore;
  }

  /** Who somebody is. */
  takeUser({ user_id: id, account, nickname }) {
    Object.assign(this.with(id), { account, nickname });
  }

  /** How people look: profiles. */
  takeLooks(profiles) {
    for (const { user_id: id, avatar = '' } of profiles) {
      const chat = this.#chats.get(chatId(this.me, id));
      if (chat) chat.avatar = avatar;
    }
  }

  /** Has messages disappear whose time is over. Gives whether any did, and when the next one does; Infinity: none. */
  expire(now) {
    let next = Infinity;
    let changed = false;
    for (const { items } of this.#chats.values()) {
      for (const item of items) {
        if (expire(item, now)) {
          item.caption = '';
          changed = true;
        }
        if (item.expires_ms && !item.became?.recalled) next = Math.min(next, item.expires_ms);
      }
    }
    return { next, changed };
  }

  /** Forgets messages and conversations. */
  clear(me = this.me) {
    this.me = me;
    this.#chats.clear();
  }

  /** Data for the constructor of a later page. What is queued is the client's to keep. */
  snapshot() {
    const keep = (chat) => ({ ...chat, complete: false, items: chat.items.filter(({ state }) => state !== 'queued').slice(-KEPT_ITEMS) });
    return { me: this.me, chats: [...this.#chats.values()].map(keep) };
  }
}
