// A clock that only the test moves, and a server in memory that speaks the
// protocol of idl/README.md as far as one inbox per person needs it. Everything
// that can go wrong on a network is a method or a hook here.

import { Action, Code, chatId, decodeBody, decodeFrames, decodeText, encodeBody, encodeFrame, encodeText } from '../freeim.js';

/** Lets every promise that can settle do so. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A clock for Client's option of that name. */
export class FakeClock {
  #now = 1_700_000_000_000;
  #timers = new Map();
  #last = 0;

  now = () => this.#now;

  setTimeout = (callback, ms) => {
    this.#timers.set(++this.#last, { at: this.#now + Math.max(0, ms), callback });
    return this.#last;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  /** Lets `ms` pass: runs what falls due, in order. */
  async advance(ms) {
    const until = this.#now + ms;
    await settled();
    for (let next; (next = this.#next(until)); await settled()) {
      const [id, { at, callback }] = next;
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, at);
      callback();
    }
    this.#now = until;
  }

  /** Advances until `condition` holds; fails after a simulated hour. */
  async until(condition, what = String(condition)) {
    for (let passed = 0; passed < 3600_000; passed += 10) {
      await settled();
      if (condition()) return;
      await this.advance(10);
    }
    throw new Error(`never happened: ${what}`);
  }

  #next(until) {
    let first;
    for (const entry of this.#timers) {
      if (entry[1].at <= until && (!first || entry[1].at < first[1].at)) first = entry;
    }
    return first;
  }
}

/** A generator of numbers in [0, 1) that a seed fixes (xorshift32). */
export function seeded(seed) {
  let x = seed * 2654435761 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

export class FakeServer {
  epoch = 'e1';
  down = false; // no connection is accepted
  latencyMs = 5;
  heartbeatMs = 30_000;
  sockets = new Set();
  opened = 0; // connections, ever
  logs = new Map(); // conversation ID -> messages
  inboxes = new Map(); // user ID -> entries
  receipts = []; // {position, to, receipt or read}
  mostReceipts = 1000; // in an answer
  requests = []; // {user, action, body}, all that arrived
  rooms = new Map(); // name -> {log, members: Set of sockets, closed}

  /** Hooks. `meddle` sees each request first: a body of Error refuses, "drop" swallows. */
  meddle = () => undefined;
  /** `fate` of a push: "drop", "twice", "late" or undefined. */
  fate = () => undefined;
  /** The body of an answer, which it may change. */
  amend = (action, body) => body;
  /** The text as committed. */
  rewrite = (text) => text;

  #spin = 0;
  #accounts = new Map(); // name -> {user_id, account, password, nickname}
  #tokens = new Map(); // token -> {user_id, account, nickname, device}
  #byClientId = new Map(); // sender/client_id -> {request, reply}

  constructor(clock) {
    this.clock = clock;
    const server = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url) {
        super(server, url);
      }
    };
  }

  /** Makes an account without the wire. */
  account(account, password = 'password') {
    const person = { user_id: 1001 + this.#accounts.size, account, password, nickname: account };
    this.#accounts.set(account, person);
    this.inboxes.set(person.user_id, []);
    return person;
  }

  sessions(userId) {
    return [...this.sockets].filter((socket) => socket.session?.user_id === userId);
  }

  revoke() {
    this.#tokens.clear();
  }

  /** Loses all data, as a restored store does; accounts stay. */
  reset(epoch) {
    this.epoch = epoch;
    this.logs.clear();
    this.receipts = [];
    this.#byClientId.clear();
    for (const user of this.inboxes.keys()) this.inboxes.set(user, []);
  }

  cutAll() {
    for (const socket of [...this.sockets]) socket.cut();
  }

  /** Commits a message as if some device of `sender`'s had sent it. */
  commit(sender, to, text, clientId = `s${Math.random()}`, except = null) {
    const conversation = chatId(sender, to);
    const log = this.logs.get(conversation) ?? [];
    this.logs.set(conversation, log);
    const message = {
      id: messageId(this.clock.now(), ++this.#spin, sender), conversation_id: conversation, seq: log.length + 1,
      sender_id: sender, client_id: clientId, time_ms: this.clock.now(), text: this.rewrite(text),
    };
    log.push(message);
    for (const user of new Set([sender, to])) {
      const inbox = this.inboxes.get(user);
      const entry = { inbox_seq: (inbox.at(-1)?.inbox_seq ?? 0) + 1, message };
      inbox.push(entry);
      for (const socket of this.sessions(user)) if (socket !== except) this.push(socket, Action.MESSAGE, entry);
    }
    return message;
  }

  room(name) {
    if (!this.rooms.has(name)) this.rooms.set(name, { log: [], members: new Set(), closed: false });
    return this.rooms.get(name);
  }

  /** Commits a message to a room; unless it is told, its seq is declared skipped. */
  sayInRoom(name, text, { sender = 0, clientId = '', told = true } = {}) {
    const { log, members } = this.room(name);
    const message = { room: name, seq: log.length + 1, id: `R${log.length + 1}`, sender_id: sender, client_id: clientId, text };
    log.push(message);
    for (const socket of members) {
      if (told) this.push(socket, Action.ROOM_MESSAGE, message);
      else this.push(socket, Action.ROOM_HISTORY, { room: name, ranges: [{ from: message.seq, to: message.seq }], reason: 1 });
    }
    return message;
  }

  /** A message to a room's sessions that is in no log. */
  showInRoom(name, text) {
    for (const socket of this.room(name).members) this.push(socket, Action.ROOM_MESSAGE, { room: name, id: 'S', text });
  }

  closeRoom(name) {
    const room = this.room(name);
    room.closed = true;
    for (const socket of room.members) this.push(socket, Action.LEAVE_ROOM, { room: name, reason: 3 });
    room.members.clear();
  }

  #joinRoom(socket, { room: name, after_seq = 0, last = 0 }) {
    const { log, members, closed } = this.room(name);
    if (closed) return { code: Code.NOT_FOUND, field: 'room', message: 'the room is closed' };
    members.add(socket);
    const most = last || 20;
    const first = last < 0 ? log.length : Math.max(after_seq, log.length - most);
    const messages = log.slice(first);
    return { info: { room: name, members: members.size }, messages, head: log.length, has_more: first > after_seq };
  }

  #sendRoom(socket, { room: name, client_id, text }) {
    const { log, members } = this.room(name);
    if (!members.has(socket)) return { code: Code.PERMISSION_DENIED, field: 'room', message: 'join it first' };
    const sender = socket.session.user_id;
    const before = log.find((m) => m.sender_id === sender && m.client_id === client_id);
    const message = before ?? this.sayInRoom(name, text, { sender, clientId: client_id });
    return { message_id: message.id, seq: message.seq, duplicate: Boolean(before) };
  }

  #roomHistory({ room: name, before_seq = 0, after_seq = 0, limit = 50 }) {
    const { log } = this.room(name);
    const rest = after_seq ? log.slice(after_seq) : log.slice(0, before_seq ? before_seq - 1 : undefined).reverse();
    return { messages: rest.slice(0, limit), has_more: rest.length > limit, floor: 1 };
  }

  push(socket, action, body) {
    const fate = this.fate(action, body);
    if (fate === 'drop') return;
    socket.say({ action, sequence: 0, body }, fate === 'late' ? 50 : 0);
    if (fate === 'twice') socket.say({ action, sequence: 0, body });
  }

  take(socket, frame) {
    this.requests.push({ user: socket.session?.user_id, action: frame.action, body: frame.body });
    if (frame.action === Action.QUIT) return socket.hangUp(4503);
    const meddled = this.meddle(frame, socket);
    if (meddled === 'drop') return;
    const answer = this.amend(frame.action, meddled ?? this.#answer(socket, frame));
    if (!answer) return;
    const action = answer.code ? Action.ERROR : frame.action;
    if (socket.readyState === 1) socket.say({ action, sequence: frame.sequence, body: answer });
  }

  #answer(socket, { action, body }) {
    const { session } = socket;
    const open = [Action.SIGN_UP, Action.SIGN_IN, Action.SIGN_IN_EXTERNAL, Action.AUTH, Action.HEARTBEAT];
    if (!session && !open.includes(action)) return { code: Code.UNAUTHENTICATED, message: 'no session' };
    switch (action) {
      case Action.SIGN_UP:
        if (this.#accounts.has(body.account)) return { code: Code.ALREADY_EXISTS, field: 'account' };
        return { user_id: this.account(body.account, body.password).user_id };
      case Action.SIGN_IN:
        return this.#signIn(body);
      case Action.SIGN_IN_EXTERNAL: {
        const [, account] = /^jwt of (.*)$/.exec(body.token) ?? [];
        if (!account) return { code: Code.BAD_CREDENTIALS, field: 'token' };
        return this.#signIn({ ...body, ...this.#accounts.get(account) });
      }
      case Action.AUTH:
        return this.#auth(socket, body);
      case Action.MESSAGE:
        return this.#send(socket, body);
      case Action.SYNC:
        return this.#sync(session, body);
      case Action.MESSAGE_ACK:
        return this.#ack(session, body);
      case Action.HISTORY:
        return { messages: [...(this.logs.get(body.conversation_id) ?? [])].reverse() };
      case Action.FIND_USER: {
        const { password, ...user } = this.#accounts.get(body.account) ?? {};
        return user.user_id ? user : { code: Code.NOT_FOUND, field: 'account' };
      }
      case Action.LIST_DEVICES:
        return { devices: [{ device: session.device, this_device: true }] };
      case Action.SIGN_OUT:
        socket.quit({ reason: 4502, message: 'signed out' });
        return { device_ids: [session.device.id] };
      case Action.HEARTBEAT:
        return {};
      case Action.JOIN_ROOM:
        return this.#joinRoom(socket, body);
      case Action.LEAVE_ROOM:
        return { was_in: this.room(body.room).members.delete(socket) };
      case Action.ROOM_MESSAGE:
        return this.#sendRoom(socket, body);
      case Action.ROOM_HISTORY:
        return this.#roomHistory(body);
      case Action.ROOM_INFO:
        return { room: body.room, members: this.room(body.room).members.size };
      default:
        return { code: Code.UNKNOWN_ACTION };
    }
  }

  #signIn({ account, password, device }) {
    const person = this.#accounts.get(account);
    if (person?.password !== password) return { code: Code.BAD_CREDENTIALS };
    const token = `token-${account}-${this.#tokens.size}`;
    this.#tokens.set(token, { ...person, device });
    return { token, user_id: person.user_id };
  }

  #auth(socket, { token }) {
    const session = this.#tokens.get(token);
    if (!session) return { code: Code.UNAUTHENTICATED, message: 'the token is not valid' };
    socket.session = session;
    const { user_id, account, nickname } = session;
    const inbox_head = this.inboxes.get(user_id).at(-1)?.inbox_seq;
    return { user_id, account, nickname, epoch: this.epoch, inbox_head, heartbeat_ms: this.heartbeatMs, max_body: 65536 };
  }

  #send(socket, request) {
    const me = socket.session.user_id;
    const key = `${me}/${request.client_id}`;
    const before = this.#byClientId.get(key);
    if (before && JSON.stringify(before.request) !== JSON.stringify(request)) return { code: Code.CONFLICT, field: 'client_id' };
    if (before) return { ...before.reply, duplicate: true };
    const peer = request.to_user_id ?? request.conversation_id.slice(2).split('_').map(Number).find((id) => id !== me);
    const message = this.commit(me, peer, request.text, request.client_id, socket);
    const reply = {
      message_id: message.id, conversation_id: message.conversation_id, seq: message.seq, time_ms: message.time_ms,
      inbox_seq: this.inboxes.get(me).at(-1).inbox_seq,
    };
    if (this.lifetimeMs) reply.expires_ms = message.time_ms + this.lifetimeMs;
    if (message.text !== request.text) Object.assign(reply, { rewritten: true, text: message.text });
    this.#byClientId.set(key, { request, reply });
    return reply;
  }

  #sync({ user_id }, { after_seq = 0, epoch = '', limit = 100, receipts_after = 0 }) {
    const inbox = this.inboxes.get(user_id);
    const floor = inbox[0]?.inbox_seq ?? 1;
    const head = inbox.at(-1)?.inbox_seq ?? 0;
    const restarted = (epoch !== '' && epoch !== this.epoch) || after_seq > head || (after_seq > 0 && after_seq < floor - 1);
    const after = restarted ? 0 : after_seq;
    const rest = inbox.filter((entry) => entry.inbox_seq > after);
    const reply = { entries: rest.slice(0, limit), has_more: rest.length > limit, head, floor, epoch: this.epoch, restarted };
    if (reply.has_more) return reply;
    const since = restarted ? 0 : receipts_after;
    const moved = this.receipts.filter(({ to, position }) => to === user_id && position > since);
    const given = moved.slice(0, this.mostReceipts);
    const more_receipts = given.length < moved.length;
    const of = (kind) => given.filter((one) => one[kind]).map((one) => one[kind]);
    return {
      ...reply, receipts: of('receipt'), reads: of('read'), more_receipts,
      receipts_head: more_receipts ? given.at(-1).position : this.receipts.length,
    };
  }

  #ack({ user_id }, { conversation_id, seq }) {
    if (seq > (this.logs.get(conversation_id)?.length ?? 0)) return { code: Code.INVALID_ARGUMENT, field: 'seq' };
    const to = conversation_id.slice(2).split('_').map(Number).find((id) => id !== user_id);
    const receipt = { conversation_id, user_id, seq };
    this.receipts.push({ position: this.receipts.length + 1, to, receipt });
    for (const socket of this.sessions(to)) this.push(socket, Action.MESSAGE_ACK, receipt);
    return {};
  }
}

/** One end of a connection: the WebSocket that the client sees, and the server's handle. */
class FakeSocket {
  readyState = 0;
  session = null;
  binaryType = 'blob';
  onopen = null;
  onmessage = null;
  onclose = null;
  #text = false;

  constructor(server, url) {
    this.server = server;
    this.url = url;
    server.opened++;
    this.#later(() => {
      if (server.down) return this.#closed(1006);
      if (this.readyState !== 0) return;
      this.readyState = 1;
      server.sockets.add(this);
      this.onopen?.({});
    });
  }

  /** Called by the client. */
  send(data) {
    if (this.readyState !== 1) throw new Error('not open');
    this.#text = typeof data === 'string';
    const frames = this.#text ? [decodeText(data)] : decodeFrames(data).map((f) => ({ ...f, body: decodeBody(f.body) }));
    for (const frame of frames) this.#later(() => this.readyState === 1 && this.server.take(this, frame));
  }

  /** Called by the client. */
  close() {
    this.#closed(1000);
  }

  /** The server sends a frame, in the form the client last spoke. */
  say(frame, extraMs = 0) {
    this.raw(this.#text ? encodeText(frame) : encodeFrame({ ...frame, body: encodeBody(frame.body) }).buffer, extraMs);
  }

  /** The server sends any bytes, or any text. */
  raw(data, extraMs = 0) {
    this.#later(() => this.readyState === 1 && this.onmessage?.({ data }), extraMs);
  }

  /** The server says Quit and closes. */
  quit(body) {
    this.say({ action: Action.QUIT, sequence: 0, body });
    this.#later(() => this.hangUp(body.reason));
  }

  /** The server closes without a word. */
  hangUp(code) {
    this.#closed(code);
  }

  /** The connection breaks: what is under way in either direction is lost. */
  cut() {
    this.#closed(1006);
  }

  #closed(code) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.server.sockets.delete(this);
    for (const { members } of this.server.rooms.values()) members.delete(this);
    this.session = null;
    this.onclose?.({ code, reason: '' });
  }

  #later(step, extraMs = 0) {
    this.server.clock.setTimeout(step, this.server.latencyMs + extraMs);
  }
}

function messageId(timeMs, spin, hash) {
  const alphabet = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
  let bits = (BigInt(timeMs) << 38n) | (BigInt(spin % 4096) << 26n) | (1n << 22n) | BigInt(hash % 4194304);
  let text = '';
  for (let i = 0; i < 16; i++, bits >>= 5n) text = alphabet[Number(bits & 31n)] + text;
  return text;
}

/** A client on the server, with what its listeners saw. */
export function listen(client) {
  const seen = { states: [], texts: [], messages: [], receipts: [], resets: [], synced: 0, faults: [], pushes: [], rooms: [] };
  client.addEventListener('state', ({ detail }) => seen.states.push(detail));
  client.addEventListener('message', ({ detail }) => {
    seen.messages.push(detail);
    seen.texts.push(detail.message.text);
  });
  client.addEventListener('receipt', ({ detail }) => seen.receipts.push(detail));
  client.addEventListener('reset', ({ detail }) => seen.resets.push(detail.reason));
  client.addEventListener('synced', () => seen.synced++);
  client.addEventListener('fault', ({ detail }) => seen.faults.push(detail));
  client.addEventListener('push', ({ detail }) => seen.pushes.push(detail));
  client.addEventListener('roommessage', ({ detail: { message } }) => seen.rooms.push(`${message.seq} ${message.text}`));
  client.addEventListener('roomskip', ({ detail: { ranges, reason } }) => {
    for (const [from, to] of ranges) seen.rooms.push(`skip ${from}-${to} ${reason}`);
  });
  client.addEventListener('roomleft', ({ detail: { room, reason } }) => seen.rooms.push(`left ${room} ${reason}`));
  return seen;
}
