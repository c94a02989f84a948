/**
 * The freeim SDK for browsers: one ES module, no dependencies. It also runs in
 * Node with a WebSocket class passed in. README.md beside it shows how to use it;
 * idl/README.md is the wire specification that it follows.
 *
 * The file reads downward: constants, frames, errors, storage, then the parts of
 * a client (Outgoing, Inbox, Link) and the Client itself. Bodies keep the field
 * names of the .proto files, so `message.sender_id` is the same word everywhere.
 *
 * @module freeim
 */

// ---------------------------------------------------------------- constants

/** The protocol in the high half of a frame's version. */
export const PROTOCOL = 2;

/** How a frame's body is encoded. This SDK speaks JSON. */
export const Codec = Object.freeze({ JSON: 0, PROTOBUF: 1 });

/** The operation numbers of frames; see `Action` in idl/wire.proto. */
export const Action = Object.freeze({
  GET_MESSAGE_ID: 0,
  SIGN_IN: 1,
  SYNC: 2,
  MESSAGE: 3,
  MESSAGE_ACK: 4,
  NOTICE: 5,
  AUTH: 10,
  QUIT: 11,
  SIGN_UP: 12,
  SIGN_OUT: 13,
  LIST_DEVICES: 14,
  FIND_USER: 15,
  PROFILE: 16,
  UPDATE_PROFILE: 17,
  SEARCH_USERS: 18,
  CHANGE_PASSWORD: 19,
  SET_PUSH_TOKEN: 20,
  DELETE_ACCOUNT: 21,
  EXPORT: 22,
  SIGN_IN_EXTERNAL: 23,
  HISTORY: 30,
  HELD: 31,
  READ: 32,
  LIST_CONVERSATIONS: 33,
  UPDATE_CONVERSATION: 34,
  TYPING: 35,
  RECALL: 36,
  EDIT: 37,
  CHAT_SETTINGS: 38,
  VERSIONS: 39,
  REACT: 40,
  REACTIONS: 41,
  SEARCH_MESSAGES: 42,
  SCHEDULE: 43,
  LIST_SCHEDULED: 44,
  RESCHEDULE: 45,
  UNSCHEDULE: 46,
  READERS: 48,
  LIFETIME: 49,
  CREATE_GROUP: 50,
  GROUP_INFO: 51,
  LIST_GROUPS: 52,
  GROUP_MEMBERS: 53,
  UPDATE_GROUP: 54,
  DISSOLVE_GROUP: 55,
  INVITE_TO_GROUP: 56,
  ANSWER_INVITATION: 57,
  JOIN_GROUP: 58,
  DECIDE_APPLICATION: 59,
  GROUP_REQUESTS: 60,
  LEAVE_GROUP: 61,
  REMOVE_FROM_GROUP: 62,
  TRANSFER_GROUP: 63,
  SET_GROUP_ROLE: 64,
  MUTE_IN_GROUP: 65,
  BAN_FROM_GROUP: 66,
  GROUP_BANS: 67,
  WITHDRAW_REQUEST: 68,
  SET_GROUP_SELF: 69,
  JOIN_ROOM: 70,
  LEAVE_ROOM: 71,
  ROOM_MESSAGE: 72,
  ROOM_HISTORY: 73,
  ROOM_INFO: 74,
  ROOM_MEMBERS: 75,
  CREATE_ROOM: 76,
  UPDATE_ROOM: 77,
  MODERATE_ROOM: 78,
  CLOSE_ROOM: 79,
  ROOM_ROLES: 80,
  APPLY: 90,
  ACCEPT: 91,
  REFUSE: 92,
  WITHDRAW: 93,
  APPLICATIONS: 94,
  FRIENDS: 95,
  DELETE_FRIEND: 96,
  SET_ALIAS: 97,
  SUGGESTIONS: 98,
  PRESENCE: 99,
  HEARTBEAT: 100,
  BLOCK: 101,
  UNBLOCK: 102,
  BLOCKS: 103,
  FRIEND_GROUPS: 104,
  CREATE_FRIEND_GROUP: 105,
  RENAME_FRIEND_GROUP: 106,
  DELETE_FRIEND_GROUP: 107,
  ORDER_FRIEND_GROUPS: 108,
  MOVE_FRIENDS: 109,
  SOCIAL_SETTINGS: 110,
  UPDATE_SOCIAL_SETTINGS: 111,
  RELATION: 112,
  PUBLISH_MOMENT: 120,
  DELETE_MOMENT: 121,
  SET_MOMENT_VISIBILITY: 122,
  GET_MOMENT: 123,
  MOMENT_FEED: 124,
  LIST_MOMENTS: 125,
  MOMENT_SQUARE: 126,
  LIKE_MOMENT: 127,
  UNLIKE_MOMENT: 128,
  COMMENT_MOMENT: 129,
  DELETE_COMMENT: 130,
  MOMENT_LIKES: 131,
  MOMENT_COMMENTS: 132,
  UPLOAD_FILE: 140,
  COMMIT_FILE: 141,
  FILE_URL: 142,
  LIST_FILES: 143,
  DELETE_FILE: 144,
  ERROR: 255,
});

/** Why an action was refused; see `Code` in idl/wire.proto. */
export const Code = Object.freeze({
  UNKNOWN: 0,
  INTERNAL: 1,
  UNAVAILABLE: 2,
  UNAUTHENTICATED: 3,
  PERMISSION_DENIED: 4,
  INVALID_ARGUMENT: 5,
  NOT_FOUND: 6,
  ALREADY_EXISTS: 7,
  CONFLICT: 8,
  RATE_LIMITED: 9,
  UNKNOWN_ACTION: 10,
  TOO_LARGE: 11,
  DEADLINE_EXCEEDED: 12,
  REJECTED: 13,
  BAD_CREDENTIALS: 14,
  MALFORMED_BODY: 15,
  LIMIT_EXCEEDED: 16,
});

/** Why the server ended a session; see `CloseReason` in idl/wire.proto. */
export const CloseReason = Object.freeze({
  UNKNOWN: 0,
  SHUTDOWN: 4000,
  SLOW: 4001,
  IDLE: 4002,
  OVERLOADED: 4003,
  AUTH_TIMEOUT: 4004,
  REPLACED: 4500,
  KICKED: 4501,
  SIGNED_OUT: 4502,
  BYE: 4503,
  REMOVED: 4504,
  MALFORMED: 4510,
  TOO_LARGE: 4511,
  UNSUPPORTED_VERSION: 4512,
  FLOOD: 4513,
});

/** The class of a device, which the kick policy looks at. */
export const DeviceType = Object.freeze({ UNKNOWN: 0, MOBILE: 1, DESKTOP: 2, WEB: 3, TABLET: 4 });

/** What a room's message is. All but TEXT are important: they overtake chat. */
export const RoomKind = Object.freeze({ TEXT: 0, GIFT: 1, ANNOUNCEMENT: 2, MODERATION: 3 });

/** Why a session is not in a room any more. */
export const RoomLeftReason = Object.freeze({ UNKNOWN: 0, REMOVED: 1, BANNED: 2, CLOSED: 3, SLOW: 4 });

/** What a message is. An EVENT tells what happened, in `event` and `data`: nobody sends it. */
export const MessageKind = Object.freeze({ TEXT: 0, IMAGE: 1, PLACE: 2, VIDEO: 3, VOICE: 4, FILE: 5, COMMAND: 6, CUSTOM: 7, EVENT: 8 });

/** How a conversation is muted: it alerts, makes no sound, or is not even counted. */
export const Mute = Object.freeze({ NORMAL: 0, SILENT: 1, NONE: 2 });

/** How a message stands that a rule of the server has wait. */
export const HeldState = Object.freeze({ WAITING: 0, APPROVED: 1, DENIED: 2 });

/** Why seqs of a room are not pushed. */
export const RoomSkipReason = Object.freeze({ UNKNOWN: 0, SAMPLED: 1, SLOW: 2, LOST: 3 });

/** What a sign-out ends. */
export const SignOutScope = Object.freeze({ THIS: 0, DEVICE: 1, OTHERS: 2, ALL: 3 });

/**
 * The name of a number in one of the tables above, for logs and screens:
 * `nameOf(Code, 13)` is "REJECTED". A number that is not in it gives "#13".
 */
export function nameOf(table, number) {
  return Object.keys(table).find((name) => table[name] === number) ?? `#${number}`;
}

// ------------------------------------------------------------------- frames

/** The length of a frame without its body, in octets. */
export const HEADER_SIZE = 13;

/** Bytes that are no frame, with the CloseReason that a server would give. */
export class FrameError extends Error {
  name = 'FrameError';

  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

/**
 * One frame as bytes: a header of 13 octets, big-endian, and the body.
 * @param {{codec?: number, action: number, sequence?: number, body?: Uint8Array}} frame
 * @returns {Uint8Array}
 */
export function encodeFrame({ codec = Codec.JSON, action, sequence = 0, body = new Uint8Array() }) {
  const bytes = new Uint8Array(HEADER_SIZE + body.length);
  const header = new DataView(bytes.buffer);
  header.setUint32(0, PROTOCOL * 65536 + codec);
  header.setUint8(4, action);
  header.setUint32(5, sequence);
  header.setUint32(9, body.length);
  bytes.set(body, HEADER_SIZE);
  return bytes;
}

/**
 * All frames of one binary WebSocket message, which holds whole frames only.
 * Bodies alias `data`. Throws a FrameError when `data` is anything else, or when
 * a body is longer than `maxBody` octets.
 * @param {Uint8Array | ArrayBuffer} data
 * @param {number} [maxBody] default 8 MiB
 * @returns {{codec: number, action: number, sequence: number, body: Uint8Array}[]}
 */
export function decodeFrames(data, maxBody = 8 << 20) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const frames = [];
  for (let at = 0; at < bytes.length; ) {
    const frame = decodeFrame(bytes.subarray(at), maxBody);
    frames.push(frame);
    at += HEADER_SIZE + frame.body.length;
  }
  return frames;
}

/** The frame that `bytes` begins with. */
function decodeFrame(bytes, maxBody) {
  if (bytes.length < HEADER_SIZE) {
    throw new FrameError(CloseReason.MALFORMED, `a header has ${HEADER_SIZE} octets, here are ${bytes.length}`);
  }
  const header = new DataView(bytes.buffer, bytes.byteOffset, HEADER_SIZE);
  const codec = codecOf(header.getUint32(0));
  const length = header.getUint32(9);
  if (length > maxBody) {
    throw new FrameError(CloseReason.TOO_LARGE, `a body of ${length} octets, at most ${maxBody} are allowed`);
  }
  if (bytes.length < HEADER_SIZE + length) {
    throw new FrameError(CloseReason.MALFORMED, `a body of ${length} octets is cut after ${bytes.length - HEADER_SIZE}`);
  }
  const body = bytes.subarray(HEADER_SIZE, HEADER_SIZE + length);
  return { codec, action: header.getUint8(4), sequence: header.getUint32(5), body };
}

/** The codec in a version; every version but the two of this protocol is refused. */
function codecOf(version) {
  const codec = version - PROTOCOL * 65536;
  if (codec !== Codec.JSON && codec !== Codec.PROTOBUF) {
    throw new FrameError(CloseReason.UNSUPPORTED_VERSION, `version ${version} is not known`);
  }
  return codec;
}

/**
 * One frame as a readable text message.
 * @param {{action: number | string, sequence?: number, body?: object}} frame
 * @returns {string}
 */
export function encodeText({ action, sequence = 0, body = {} }) {
  return JSON.stringify({ version: PROTOCOL * 65536, action, sequence_id: sequence, body });
}

/**
 * The frame in a text message; missing fields are 0 or empty. The action is a
 * number, or the name that was given. Throws a FrameError.
 * @param {string} text
 * @returns {{codec: number, action: number | string, sequence: number, body: object}}
 */
export function decodeText(text) {
  const frame = parseObject(text, 'a text frame');
  const version = frame.version ?? PROTOCOL * 65536;
  const [action, sequence, body] = [frame.action ?? 0, frame.sequence_id ?? 0, frame.body ?? {}];
  if (!isUnsigned(version, 32) || codecOf(version) !== Codec.JSON) {
    throw new FrameError(CloseReason.UNSUPPORTED_VERSION, `version ${version} is not one of a text frame`);
  }
  if (typeof action !== 'string' && !isUnsigned(action, 8)) {
    throw new FrameError(CloseReason.MALFORMED, 'not a text frame: action is a number from 0 to 255 or a name');
  }
  if (!isUnsigned(sequence, 32) || !isObject(body)) {
    throw new FrameError(CloseReason.MALFORMED, 'not a text frame: sequence_id is a number, body an object');
  }
  return { codec: Codec.JSON, action, sequence, body };
}

/** A body as JSON octets. */
export function encodeBody(body) {
  return new TextEncoder().encode(JSON.stringify(body));
}

/** The body in JSON octets; no octets are the empty body. Throws a FrameError. */
export function decodeBody(bytes) {
  if (bytes.length === 0) return {};
  try {
    return parseObject(new TextDecoder('utf-8', { fatal: true }).decode(bytes), 'a body');
  } catch (error) {
    throw error instanceof FrameError ? error : new FrameError(CloseReason.MALFORMED, 'a body is UTF-8');
  }
}

function parseObject(text, what) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FrameError(CloseReason.MALFORMED, `not ${what}: ${error.message}`);
  }
  if (!isObject(value)) throw new FrameError(CloseReason.MALFORMED, `not ${what}: it is no JSON object`);
  return value;
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isUnsigned = (value, bits) => Number.isInteger(value) && value >= 0 && value < 2 ** bits;

// -------------------------------------------------------------- identifiers

const ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';

/**
 * What a message ID tells: when it was made (unix milliseconds), its spin, the
 * type of the conversation and 22 bits of the conversation ID's hash. An ID is
 * a name, never a cursor. Throws a RangeError for anything that is not an ID.
 * @param {string} id 16 characters
 * @returns {{timeMs: number, spin: number, type: number, hash: number}}
 */
export function decodeMessageId(id) {
  if (id.length !== 16) throw new RangeError(`a message ID has 16 characters, this one ${id.length}`);
  let bits = 0n;
  for (const character of id) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) throw new RangeError(`"${character}" does not occur in message IDs`);
    bits = (bits << 5n) | BigInt(digit);
  }
  return {
    timeMs: Number(bits >> 38n),
    spin: Number((bits >> 26n) & 0xfffn),
    type: Number((bits >> 22n) & 0xfn),
    hash: Number(bits & 0x3fffffn),
  };
}

/** The conversation of two people, the same whichever comes first. */
export function chatId(a, b) {
  return `c_${Math.min(a, b)}_${Math.max(a, b)}`;
}

/** A random name of 20 characters, fit for a client_id or a device ID. */
export function randomId() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(20));
  return Array.from(bytes, (byte) => ALPHABET[byte & 31]).join('').toLowerCase();
}

// ------------------------------------------------------------------- errors

/** The server's answer "no" to a request. `code` is one of Code. */
export class Refusal extends Error {
  name = 'Refusal';

  constructor({ code = Code.UNKNOWN, message = '', field = '', retry_after_ms: retryAfterMs = 0 }) {
    super(message || nameOf(Code, code));
    this.code = code;
    this.codeName = nameOf(Code, code);
    this.field = field; // of the request, where one is wrong
    this.retryAfterMs = retryAfterMs; // 0: no advice
  }

  /** Whether the same request may well succeed later. */
  get temporary() {
    return [Code.INTERNAL, Code.UNAVAILABLE, Code.RATE_LIMITED, Code.DEADLINE_EXCEEDED].includes(this.code);
  }
}

/** No answer came: the connection was lost or silent. The action may or may not have happened. */
export class Unanswered extends Error {
  name = 'Unanswered';

  constructor(message, ending = null) {
    super(message);
    this.ending = ending; // how the connection ended, if it did; see Client's "state" event
  }
}

// ------------------------------------------------------------------ storage

/**
 * Keeps a session in localStorage, sessionStorage or anything like them, under
 * one key. What is stored there and broken counts as nothing.
 * @param {string} key
 * @param {Storage} [area] default: sessionStorage, so each tab is a device of its own
 * @returns {{load(): object | null, save(state: object): void}}
 */
export function webStorage(key, area = globalThis.sessionStorage) {
  return {
    load() {
      try {
        return JSON.parse(area.getItem(key));
      } catch {
        return null;
      }
    },
    save: (state) => area.setItem(key, JSON.stringify(state)),
  };
}

/** Keeps a session as long as this object lives: for tests, and where nothing may be stored. */
export function memoryStorage(state = null) {
  return {
    load: () => state,
    save: (next) => {
      state = structuredClone(next);
    },
  };
}

// ----------------------------------------------------------------- Outgoing

// Only this module moves an Outgoing on; see its static block.
let commit, deliver, hold, refuse;

/**
 * A message on its way out, from Client.send. Its `state` is a fact, never a hope:
 *
 *   queued     here only; it is sent again, unchanged, until it is answered
 *   held       the server keeps it for a decision: it will be committed or refused
 *   committed  on the server's disk: `message` is what everybody will see
 *   delivered  a device of the peer's has it
 *   refused    the server said no: `error` tells why. It will not be sent again
 */
export class Outgoing {
  #state = 'queued';
  #message = null;
  #error = null;
  #rewritten = false;
  #committed = withResolvers();
  #delivered = withResolvers();

  /** Made by Client.send only. `to` is a user ID (number) or a conversation ID (string). */
  constructor({ clientId, to, text, content = {} }) {
    this.clientId = clientId;
    this.to = to;
    this.text = text;
    this.content = content; // beside the text: the fields of SendRequest that send was given
    this.attempts = 0; // how often it went out
    this.faults = 0; // how often the server answered INTERNAL
    for (const promise of [this.committed, this.delivered]) promise.catch(() => {}); // nobody must wait
  }

  static {
    commit = (out, message, rewritten) => {
      [out.#state, out.#message, out.#rewritten] = ['committed', message, rewritten];
      out.#committed.resolve(message);
    };
    deliver = (out) => {
      out.#state = 'delivered';
      out.#delivered.resolve(out.#message);
    };
    hold = (out) => {
      out.#state = 'held';
    };
    refuse = (out, error) => {
      [out.#state, out.#error] = ['refused', error];
      out.#committed.reject(error);
      out.#delivered.reject(error);
    };
  }

  /** "queued", "held", "committed", "delivered" or "refused". */
  get state() {
    return this.#state;
  }

  /** The message as committed; null before. */
  get message() {
    return this.#message;
  }

  /** The Refusal; null unless the state is "refused". */
  get error() {
    return this.#error;
  }

  /** Whether a rule of the operator's changed the text: see `message.text`. */
  get rewritten() {
    return this.#rewritten;
  }

  /** Fulfilled with the message at "committed", rejected with the Refusal at "refused". */
  get committed() {
    return this.#committed.promise;
  }

  /** Fulfilled with the message at "delivered", rejected with the Refusal at "refused". */
  get delivered() {
    return this.#delivered.promise;
  }
}

function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

// -------------------------------------------------------------------- Inbox

/** How many entries wait for a gap before them, and how many IDs are remembered. */
const MAX_AHEAD = 512;
const MAX_SEEN = 4096;

/**
 * The cursor in a person's inbox, which is dense: decides which entries are new
 * and next, keeps those that are ahead of a gap, drops those known.
 */
class Inbox {
  cursor = 0;
  epoch = '';
  receiptsHead = 0;
  #ahead = new Map(); // inbox_seq -> entry
  #doubt = false; // something was let go that a sync did not bring: one more is to say so again
  #seen = new Set(); // message IDs, the oldest first

  constructor({ cursor = 0, epoch = '', receiptsHead = 0 } = {}) {
    Object.assign(this, { cursor, epoch, receiptsHead });
  }

  /** Whether entries are, or may be, missing: a sync tells. */
  get gap() {
    return this.#ahead.size > 0 || this.#doubt;
  }

  /** A page is asked for; gives what is ahead now, for `page`. */
  ask() {
    this.#doubt = false;
    return new Map(this.#ahead);
  }

  /** Takes one pushed entry; gives those that are next, oldest first. */
  push(entry) {
    if (entry.inbox_seq <= this.cursor) return [];
    if (this.#ahead.size < MAX_AHEAD) this.#ahead.set(entry.inbox_seq, entry); // else a sync brings it again
    return this.#next();
  }

  /**
   * Takes a page of a sync, which has no gaps but those of the inbox itself. What was
   * ahead when the last page was asked for and is in none has a wrong inbox_seq, since what
   * is pushed or answered is in the inbox before: it is let go, or it would be a gap for
   * ever, and one day be taken for another entry. What came since may be newer and stays.
   */
  page(entries, { asked = new Map(), last = true } = {}) {
    const fresh = entries.filter((entry) => entry.inbox_seq > this.cursor).flatMap((entry) => this.#take(entry));
    for (const seq of this.#ahead.keys()) if (seq <= this.cursor) this.#ahead.delete(seq);
    if (!last) return fresh; // what comes next is for the next page to say
    for (const [seq, entry] of asked) {
      if (this.#ahead.get(seq) !== entry) continue;
      this.#ahead.delete(seq);
      this.#doubt = true;
    }
    return fresh.concat(this.#next());
  }

  /** Forgets everything: the inbox is another one now, and begins after `cursor`. */
  restart(epoch, cursor = 0) {
    Object.assign(this, { cursor, epoch, receiptsHead: 0 });
    this.#ahead.clear();
    this.#doubt = false;
    this.#seen.clear();
  }

  #next() {
    const fresh = [];
    for (let entry; (entry = this.#ahead.get(this.cursor + 1)); ) {
      this.#ahead.delete(entry.inbox_seq);
      fresh.push(...this.#take(entry));
    }
    return fresh;
  }

  #take(entry) {
    this.cursor = entry.inbox_seq;
    const { id } = entry.message;
    if (this.#seen.has(id)) return [];
    this.#seen.add(id);
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.values().next().value);
    return [entry];
  }
}

/** A message with every field: JSON leaves out what is 0 or empty. */
function whole(message = {}) {
  return {
    id: '', conversation_id: '', seq: 0, sender_id: 0, client_id: '', time_ms: 0, kind: 0, text: '',
    event: '', data: '', media: null, place: null, payload: null, reply_to: null, origin: null, mentions: [], mentions_all: false,
    became: null, about: null, expires_ms: 0, ...message,
  };
}

/** A reply to a message, for `send(to, text, {reply_to: replyTo(message)})`. */
export function replyTo({ seq, id, sender_id, kind }) {
  return { seq, message_id: id, sender_id, kind };
}

/** A message as one that is to be forwarded: `send(to, '', {forward: sourceOf(message)})`. */
export function sourceOf({ conversation_id, seq, id }) {
  return { conversation_id, seq, message_id: id };
}

/**
 * Changes a message that an application keeps to what became of it, as the answer to recall, edit or react has it in
 * `became`; in whatever order such come. Gives whether that was anything new. For EVENTs see `follow` of the client.
 */
export function applyBecame(message, became) {
  if (!became || became.revision <= (message.became?.revision ?? 0)) return false;
  const { text = '', ...rest } = became;
  message.became = rest;
  if (became.recalled) {
    Object.assign(message, { text: '', media: null, place: null, payload: null, reply_to: null, origin: null, mentions: [], mentions_all: false });
  } else if (became.edited_ms) {
    message.text = text;
  }
  return true;
}

/**
 * Changes a message that an application keeps to one that has disappeared, if its time is over: the server tells nobody of
 * that, it only gives such messages out no more. Gives whether it is new. Call it before you show a message, and at its `expires_ms`.
 * `now` is the server's time, in ms: correct a clock that may be wrong by the `time_ms` of what is pushed.
 */
export function expire(message, now = Date.now()) {
  const { expires_ms: at = 0, became } = message;
  if (!at || now < at || became?.recalled) return false;
  return applyBecame(message, { revision: (became?.revision ?? 0) + 1, recalled: true, expired: true, recalled_ms: at, version: became?.version ?? 1 });
}

/** A conversation with every field; `last` is null when all is deleted. */
function wholeConversation(conversation = {}) {
  const last = conversation.last ? whole(conversation.last) : null;
  return {
    conversation_id: '', unread: 0, mentions: 0, read_seq: 0, last_seq: 0, floor: 0, pinned: false, mute: Mute.NORMAL, draft: '', hidden: false, lifetime_ms: 0,
    ...conversation, last,
  };
}

/** A message that waits for a decision, with every field. */
const wholePresence = (state) => ({ user_id: 0, online: false, last_seen_ms: 0, ...state });

function wholeHeld(held = {}) {
  return {
    held_id: '', client_id: '', conversation_id: '', state: HeldState.WAITING, time_ms: 0, kind: 0, text: '', reason: '',
    message_id: '', seq: 0, ...held,
  };
}

// -------------------------------------------------------------------- Rooms

const MAX_APART = 1024; // runs of settled seqs that lie apart
const MAX_HELD = 256; // pushes of a room that wait while its history is read
const CATCH_PAGE = 100; // entries of a room asked for at once after a reconnect
const CATCH_PAGES = 10; // of them, before the rest is skipped

/** Which seqs of a room are settled: told, or declared skipped. */
class Settled {
  through = 0; // all up to it
  #above = []; // [from, to], ascending, apart from each other and from through

  has(seq) {
    return seq <= this.through || this.#above.some(([from, to]) => from <= seq && seq <= to);
  }

  /** The parts of from..to that are not settled. */
  missing(from, to) {
    const holes = [];
    from = Math.max(from, this.through + 1);
    for (const [low, high] of this.#above) {
      if (high < from) continue;
      if (low > to) break;
      if (from < low) holes.push([from, low - 1]);
      from = high + 1;
    }
    if (from <= to) holes.push([from, to]);
    return holes;
  }

  /** Settles from..to; gives what was given up for it, since too much lies apart. */
  add(from, to) {
    from = Math.max(from, this.through + 1);
    if (to < from) return [];
    this.#join(from, to);
    const lost = [];
    if (this.#above.length > MAX_APART) {
      lost.push([this.through + 1, this.#above[0][0] - 1]);
      this.through = this.#above[0][0] - 1;
    }
    while (this.#above[0]?.[0] === this.through + 1) this.through = this.#above.shift()[1];
    return lost;
  }

  #join(from, to) {
    const apart = this.#above.filter(([low, high]) => high < from - 1 || low > to + 1);
    for (const [low, high] of this.#above) {
      if (high < from - 1 || low > to + 1) continue;
      from = Math.min(from, low);
      to = Math.max(to, high);
    }
    this.#above = [...apart, [from, to]].sort(([a], [b]) => a - b);
  }
}

/** A room that the client is in, or wants to be. */
class Room {
  settled = new Settled();
  link = null; // on which it is joined
  asking = null; // on which a join is under way
  target = 0; // read the history up to here first; 0: go by pushes
  held = []; // pushes that came meanwhile
  failures = 0;
  first = withResolvers(); // of joinRoom

  constructor(name, last) {
    this.name = name;
    this.last = last;
  }
}

/** As the server writes a name: spellings of one text are one room. */
const nameOfRoom = (name) => name.normalize('NFC');

/** A room's message with every field. */
function wholeRoomMessage(message = {}) {
  return {
    room: '', seq: 0, id: '', sender_id: 0, nickname: '', client_id: '', time_ms: 0, kind: 0, text: '', data: '',
    moderation: null, ...message,
  };
}

// --------------------------------------------------------------------- Link

/**
 * One WebSocket connection: frames out, answers matched by sequence-id, pushes
 * in, heartbeats. It never outlives its socket; the Client makes the next one.
 */
class Link {
  /** Fulfilled once, with how the connection ended: {reason, message, reconnect, retryAfterMs, jitterMs}. */
  closed;
  maxBody = 4096; // octets in a request's body; more after Auth

  #options; // {WebSocket, clock, mode, timeoutMs, onPush, onFrame, onClose}
  #socket;
  #end; // resolves closed
  #quit = null; // the server's last words
  #sequence = 0;
  #waiting = new Map(); // sequence-id -> {settle, timer}
  #heardAt = 0;
  #saidAt = 0;
  #beat;

  /** Opens a connection; fulfilled with the Link, rejected with Unanswered. */
  static open(url, options) {
    return new Promise((resolve, reject) => {
      const link = new Link(new options.WebSocket(url), options);
      const timer = options.clock.setTimeout(() => link.#lost('the server did not answer'), options.timeoutMs);
      link.#socket.onopen = () => {
        options.clock.clearTimeout(timer);
        resolve(link);
      };
      link.closed.then((ending) => {
        options.clock.clearTimeout(timer);
        reject(new Unanswered(ending.message, ending));
      });
    });
  }

  constructor(socket, options) {
    this.#options = options;
    this.#socket = socket;
    this.closed = new Promise((resolve) => (this.#end = resolve));
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#finish(endingOf(this.#quit, code, reason));
    socket.onerror = () => {}; // close follows, and says all there is to know
  }

  /** Sends a request; fulfilled with the answer's body, rejected with Refusal or Unanswered. */
  request(action, body = {}) {
    const sequence = (this.#sequence = (this.#sequence % 0xffffffff) + 1);
    const octets = encodeBody(body);
    if (octets.length > this.maxBody) {
      const message = `a body of ${octets.length} octets, at most ${this.maxBody} are allowed`;
      return Promise.reject(new Refusal({ code: Code.TOO_LARGE, message }));
    }
    if (!this.#send({ action, sequence, body }, octets)) return this.#unanswered();
    const { promise, resolve, reject } = withResolvers();
    const sentAt = this.#options.clock.now();
    const timer = this.#options.clock.setTimeout(() => this.#timeOut(sequence, sentAt), this.#options.timeoutMs);
    this.#waiting.set(sequence, { resolve, reject, timer });
    return promise;
  }

  /** Keeps the session alive: a frame at least every `ms`. */
  keepAlive(ms) {
    const { clock } = this.#options;
    const pause = Math.max(1000, ms * 0.8);
    const due = this.#saidAt + pause - clock.now();
    if (due <= 0) this.probe();
    this.#beat = clock.setTimeout(() => this.keepAlive(ms), due > 0 ? due : pause);
  }

  /** Asks the server for a sign of life; without one the link is given up. */
  probe() {
    this.request(Action.HEARTBEAT).catch(() => {});
  }

  /** Says goodbye and ends the link at once. */
  quit() {
    this.#send({ action: Action.QUIT, sequence: 0, body: {} }, encodeBody({}));
    this.#lost('closed by this client', { reason: CloseReason.BYE, reconnect: false });
  }

  /**
   * The answer of a request that could not go out, because the socket is closing: it
   * is given once the link has ended. Told earlier, a sender who tries again at once
   * would do so without end, and the socket could never say that it is closed.
   */
  async #unanswered() {
    const ending = await this.closed;
    throw new Unanswered(ending.message, ending);
  }

  /** Gives whether the frame went out. */
  #send(frame, octets) {
    if (this.#socket.readyState !== 1) return false;
    this.#saidAt = this.#options.clock.now();
    this.#options.onFrame('out', frame);
    this.#socket.send(this.#options.mode === 'text' ? encodeText(frame) : encodeFrame({ ...frame, body: octets }));
    return true;
  }

  #receive(data) {
    this.#heardAt = this.#options.clock.now();
    try {
      const frames = typeof data === 'string' ? [decodeText(data)] : decodeFrames(data).map(withJSON);
      for (const frame of frames) this.#take(frame);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#lost(`not a frame: ${error.message}`, {}, error.reason);
    }
  }

  #take(frame) {
    this.#options.onFrame('in', frame);
    if (frame.action === Action.QUIT && frame.sequence === 0) this.#quit = frame.body;
    const request = this.#waiting.get(frame.sequence);
    if (!request) {
      if (frame.sequence === 0) this.#options.onPush(this, frame);
      return;
    }
    this.#waiting.delete(frame.sequence);
    this.#options.clock.clearTimeout(request.timer);
    if (frame.action === Action.ERROR) request.reject(new Refusal(frame.body));
    else request.resolve(frame.body);
  }

  /** One answer is late. If nothing at all came since, the connection is dead. */
  #timeOut(sequence, sentAt) {
    const request = this.#waiting.get(sequence);
    this.#waiting.delete(sequence);
    request.reject(new Unanswered('no answer in time'));
    if (this.#heardAt < sentAt) this.#lost('the connection is silent');
  }

  /** Ends the link from this side, without waiting for the other. */
  #lost(message, ending = {}, code = 1000) {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(code);
    this.#finish({ reason: 0, message, reconnect: true, retryAfterMs: 0, jitterMs: 0, ...ending });
  }

  #finish(ending) {
    this.#options.clock.clearTimeout(this.#beat);
    this.#options.onClose(this);
    for (const { reject, timer } of this.#waiting.values()) {
      this.#options.clock.clearTimeout(timer);
      reject(new Unanswered(ending.message, ending));
    }
    this.#waiting.clear();
    this.#end(ending);
  }
}

function withJSON(frame) {
  if (frame.codec !== Codec.JSON) throw new FrameError(CloseReason.UNSUPPORTED_VERSION, 'a body that is not JSON');
  return { ...frame, body: decodeBody(frame.body) };
}

/** How a connection ended, by the Quit frame, else by the WebSocket's close code. */
function endingOf(quit, code, text) {
  if (quit) {
    const { reason = 0, message = '', reconnect = false, retry_after_ms: retryAfterMs = 0, jitter_ms: jitterMs = 0 } = quit;
    return { reason, message, reconnect, retryAfterMs, jitterMs };
  }
  const own = code >= 4000 && code <= 4999;
  const message = text || (own ? nameOf(CloseReason, code) : `connection lost (${code})`);
  return { reason: own ? code : 0, message, reconnect: !own || code < 4500, retryAfterMs: 0, jitterMs: 0 };
}

// ------------------------------------------------------------------- Client

const MAX_IN_FLIGHT = 8; // sends, and acks, that wait for their answer
const GAP_MS = 100; // how long a gap may close by itself before a sync
const GHOST_MS = 60_000; // how long an Auth that was not answered may still be taken, and end a later session
const STABLE_MS = 5000; // a session that lasted so long starts the back-off anew
const MAX_BACKOFF_MS = 30_000;
const MAX_WATCHED = 1000; // committed messages of a conversation whose delivery is waited for
const MAX_FAULTS = 5; // INTERNAL answers to one send before it counts as refused
const ROOM_LOOK_MS = 50; // how often a send to a room looks whether the client is in it again
const ROOM_PUSHES = new Set([Action.ROOM_MESSAGE, Action.ROOM_HISTORY, Action.LEAVE_ROOM, Action.ROOM_INFO, Action.ROOM_MEMBERS]);

const realClock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** What a server, or the network, said to an upload. `again`: it may be tried again. */
export class UploadError extends Error {
  constructor(message, { status = 0, again = true, retryAfterMs = 0 } = {}) {
    super(message);
    this.name = 'UploadError';
    Object.assign(this, { status, again, retryAfterMs });
  }

  static of(status, text, retryAfter) {
    let said = {};
    try { said = JSON.parse(text); } catch { /* a store of another kind answers in another form */ }
    const again = status >= 500 ? status !== 507 : [408, 409, 429].includes(status);
    return new UploadError(said.message || `the upload was answered ${status}`, { status, again, retryAfterMs: 1000 * (Number(retryAfter) || 0) });
  }
}

/** The SHA-256 of a Blob, in hexadecimal digits. */
async function hashOf(blob) {
  if (!globalThis.crypto?.subtle) throw new UploadError('only a secure page (https, or localhost) can upload', { again: false });
  const sum = new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));
  return Array.from(sum, (octet) => octet.toString(16).padStart(2, '0')).join('');
}

/** Sends the octets of a Blob with a ticket; throws an UploadError unless they were taken. */
async function sendBlob({ method, url, headers = [] }, blob, onProgress, signal) {
  const pairs = headers.map(({ name, value }) => [name, value]);
  if (!globalThis.XMLHttpRequest) {
    const rep = await fetch(url, { method, headers: pairs, body: blob, signal, credentials: 'omit' })
      .catch((err) => { throw new UploadError(err.message, { again: !signal?.aborted }); });
    if (!rep.ok) throw UploadError.of(rep.status, await rep.text(), rep.headers.get('Retry-After'));
    onProgress(blob.size, blob.size);
    return;
  }
  await new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of pairs) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded }) => onProgress(loaded, blob.size);
    request.onload = () => (request.status < 300 ? resolve() :
      reject(UploadError.of(request.status, request.responseText, request.getResponseHeader('Retry-After'))));
    request.onerror = () => reject(new UploadError('the server cannot be reached'));
    request.onabort = () => reject(new UploadError('the upload was given up', { again: false }));
    signal?.addEventListener('abort', () => request.abort(), { once: true });
    request.send(blob);
  });
}

/** Where the page's own server listens: /ws on the same host. */
function ownServer() {
  const url = new URL('/ws', globalThis.location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

/**
 * One device of one person. It holds at most one connection, replaces it when it
 * is lost, and keeps these promises:
 *
 * - A message from `send` is resent, unchanged, until it is committed or refused,
 *   over any number of connections and, with a storage, page loads. It is
 *   committed once. Messages to one conversation are committed in the order sent.
 * - Every message of the inbox is given to "message" listeners once, in order,
 *   own messages included, whatever was lost, repeated or overtaken on the way.
 * - The storage is written after the listeners returned, the acknowledgement goes
 *   out after that: what the peer sees as delivered has been handled here.
 *
 * Events (CustomEvent; what is named here is in `detail`):
 *
 *   state     {state, ending, error, retryInMs}: see `state`
 *   message   {message, inboxSeq, own, outgoing}: the next message of the inbox
 *   outgoing  an Outgoing whose state moved
 *   held      {held_id, client_id, conversation_id, state, text, reason, …}: a message of this person's waits for a
 *             decision, or does not any more; see HeldState
 *   receipt   {conversation_id, user_id, seq}: the peer holds the conversation up to seq
 *   read      {conversation_id, user_id, seq}: this person, by another device, or the peer has read up to seq
 *   typing    {conversation_id, user_id, stopped}: the peer types, or does not any more
 *   presence  {states: [{user_id, online, last_seen_ms}]}: friends that `presence` asked for came or went
 *   synced    {cursor}: the inbox is read to its end
 *   reset     {reason: "epoch" | "trimmed" | "user"}: forget messages shown; they come again
 *   roommessage   {message, own}: a message of a room, once
 *   roomskip      {room, ranges: [[from, to]], reason}: seqs that are not told; see RoomSkipReason
 *   roomleft      {room, reason, until_ms, message, error}: not in that room any more
 *   roominfo      a room's size, now and then
 *   roompresence  {room, came, went}: in small rooms
 *   notice    {event, text, data, time_ms}: what the server tells this person; not kept, so what
 *             came while offline never does
 *   push      {action, body}: a push that is no part of these protocols
 *   frame     {direction: "in" | "out", action, sequence, body}: every frame, for tools
 *   fault     an Error that nobody waits for, such as a storage that is full
 */
export class Client extends EventTarget {
  #url;
  #linkOptions;
  #clock;
  #random;
  #storage;
  #device;
  #maxQueued;

  // The session that is kept.
  #token = '';
  #me = null; // {user_id, account, nickname}
  #inbox = new Inbox();
  #outbox = new Map(); // client_id -> Outgoing, queued, oldest first
  #acks = new Map(); // conversation ID -> seq to acknowledge

  // The life of the client between connect and close.
  #life = null; // an object per life, null when there is none
  #state = 'offline';
  #link = null; // the authenticated connection
  #wake = null; // ends the pause before the next attempt
  #failures = 0;
  #ghostAt = -Infinity; // when an Auth was last left unanswered
  #firstOnline = null; // {promise, resolve, reject} of connect, until the first time online

  // The work on one link.
  #syncing = false;
  #syncAgain = false;
  #gapTimer;
  #sending = new Map(); // conversation ID -> Outgoing without an answer
  #acking = new Set(); // conversation IDs
  #dirty = false;

  #rooms = new Map(); // name -> Room
  #roomTurns = new Map(); // room and kind -> the end of the send that was begun last

  // What the peers hold.
  #delivered = new Map(); // conversation ID -> seq
  #undelivered = new Map(); // conversation ID -> committed Outgoings
  #held = new Map(); // client_id -> Outgoing that waits for a decision, the newest MAX_WATCHED

  /**
   * Makes a client; it connects only when asked to. Every option has a default:
   * @param {object} [options]
   * @param {string} [options.url] of the WebSocket; default: /ws on the page's host
   * @param {'binary' | 'text'} [options.mode] the form of frames; text is readable in the browser's tools
   * @param {{id?: string, type?: number, name?: string}} [options.device] default: a random ID that the storage keeps, DeviceType.WEB
   * @param {{load(): object | null, save(state: object): void}} [options.storage] default: memoryStorage()
   * @param {number} [options.timeoutMs] how long a request waits for its answer; default 10 s
   * @param {number} [options.maxQueued] messages that may wait for their commit; default 1,000
   * @param {typeof WebSocket} [options.WebSocket] default: the global one
   * @param {object} [options.clock] {now, setTimeout, clearTimeout}, for tests
   * @param {() => number} [options.random] for tests
   */
  constructor(options = {}) {
    super();
    this.#url = options.url ?? ownServer();
    this.#clock = options.clock ?? realClock;
    this.#random = options.random ?? Math.random;
    this.#storage = options.storage ?? memoryStorage();
    this.#maxQueued = options.maxQueued ?? 1000;
    this.#linkOptions = {
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      clock: this.#clock,
      mode: options.mode ?? 'binary',
      timeoutMs: options.timeoutMs ?? 10_000,
      onPush: (link, frame) => link === this.#link && this.#takePush(frame),
      onFrame: (direction, frame) => this.#emit('frame', { direction, ...frame }),
      onClose: (link) => link === this.#link && (this.#link = null),
    };
    this.#restore(options.device ?? {});
    globalThis.addEventListener?.('online', () => this.#nudge());
    globalThis.document?.addEventListener('visibilitychange', () => !document.hidden && this.#nudge());
  }

  /**
   * "offline"     not connected, and not meant to be
   * "connecting"  a connection is being opened and authenticated
   * "online"      authenticated; requests are possible
   * "waiting"     for the next attempt: `retryInMs` of the event
   * "ended"       the server ended the session: `ending` or `error` of the event; sign in again
   */
  get state() {
    return this.#state;
  }

  /** Who is signed in: {user_id, account, nickname}; null when nobody is. */
  get user() {
    return this.#me;
  }

  /** The device that this client signs in as: {id, type, name}. */
  get device() {
    return { ...this.#device };
  }

  /** Whether a token is kept, so that connect() may work without signing in. */
  get signedIn() {
    return this.#token !== '';
  }

  /** The inbox_seq up to which all messages were given to the listeners. */
  get cursor() {
    return this.#inbox.cursor;
  }

  /** The messages that are still queued, oldest first. */
  get queued() {
    return [...this.#outbox.values()];
  }

  // ------------------------------------------------------ account and session

  /**
   * Makes an account. It does not sign in.
   * @returns {Promise<number>} the user ID. Rejects with Refusal or Unanswered
   */
  async signUp({ account, password, nickname = '' }) {
    const link = await this.#open();
    try {
      return (await link.request(Action.SIGN_UP, { account, password, nickname })).user_id;
    } finally {
      link.quit();
    }
  }

  /**
   * Signs in on this device and connects. Another person than before starts with
   * an empty inbox. Rejects with Refusal (BAD_CREDENTIALS …) or Unanswered.
   * @returns {Promise<{user_id: number, account: string, nickname: string}>}
   */
  async signIn({ account, password }) {
    return this.#signInBy(Action.SIGN_IN, { account, password });
  }

  /** signIn by the token (JWT) of an issuer that the server trusts. */
  async signInExternal({ token }) {
    return this.#signInBy(Action.SIGN_IN_EXTERNAL, { token });
  }

  async #signInBy(action, proof) {
    this.close();
    const life = (this.#life = {});
    this.#enter('connecting');
    let link;
    try {
      link = await this.#open();
      const reply = await link.request(action, { ...proof, device: this.#device });
      if (this.#life !== life) throw new Unanswered('closed by this client');
      if (reply.user_id !== this.#me?.user_id) this.#forget();
      this.#token = reply.token;
      this.#me = { user_id: reply.user_id, account: proof.account ?? '', nickname: '' };
      this.#save();
    } catch (error) {
      link?.quit();
      if (this.#life === life) this.#leave('offline', { error });
      throw error;
    }
    return this.#live(link);
  }

  /**
   * Connects with the token kept from before, or the one given. Fulfilled when
   * online for the first time, however many attempts that takes; rejects with
   * Refusal when there is no valid token, with Unanswered when closed meanwhile.
   * @returns {Promise<{user_id: number, account: string, nickname: string}>}
   */
  async connect(token = this.#token) {
    if (!token) throw new Refusal({ code: Code.UNAUTHENTICATED, message: 'not signed in' });
    if (this.#life && token === this.#token) return this.#firstOnline?.promise ?? this.#me;
    this.close();
    this.#token = token;
    return this.#live(null);
  }

  /** Leaves without signing out. Nothing kept is forgotten; connect() comes back. */
  close() {
    const link = this.#link;
    this.#leave('offline', {}, new Unanswered('closed by this client'));
    link?.quit();
  }

  /**
   * Signs devices out: without arguments this one, which then forgets its session
   * even if the server could not be told (it rejects with Unanswered then).
   * @param {{scope?: number, deviceId?: string}} [what] scope is one of SignOutScope
   * @returns {Promise<string[]>} the devices that were signed out
   */
  async signOut({ scope = SignOutScope.THIS, deviceId = '' } = {}) {
    const told = this.request(Action.SIGN_OUT, { scope, device_id: deviceId });
    const own = scope === SignOutScope.THIS || scope === SignOutScope.ALL;
    if (own) this.#life = null; // that the server closes the session is no news
    try {
      return (await told).device_ids ?? [];
    } catch (error) {
      if (!own || error.ending?.reason !== CloseReason.SIGNED_OUT) throw error;
      return [this.#device.id]; // the close has overtaken the answer
    } finally {
      if (own) this.#forgetSession();
    }
  }

  #forgetSession() {
    this.close();
    this.#token = '';
    this.#forget();
    this.#me = null;
    this.#save();
  }

  /** Tries to connect now, when the client waits for its next attempt. */
  retry() {
    this.#wake?.();
  }

  // ------------------------------------------------------------------- chat

  /**
   * Queues a text for a person (user ID, a number) or a conversation (ID, a
   * string) and sends it as soon as that is possible. Throws a RangeError when
   * too many messages are queued already.
   * @param {number | string} to
   * @param {string} text 1-5,000 characters; of other kinds a caption, or none
   * @param {{clientId?: string}} [options] clientId, by default a random one; and what the message is beside its text, as the
   *   fields of SendRequest: kind, media, place, payload, reply_to, mentions, mentions_all, forward
   * @returns {Outgoing}
   */
  send(to, text, { clientId = randomId(), ...content } = {}) {
    if (!this.#me && !this.#token) throw new Refusal({ code: Code.UNAUTHENTICATED, message: 'not signed in' });
    if (this.#outbox.has(clientId)) throw new RangeError(`client_id ${clientId} is queued already`);
    if (this.#outbox.size >= this.#maxQueued) throw new RangeError(`${this.#maxQueued} messages are queued already`);
    const out = new Outgoing({ clientId, to, text, content });
    this.#outbox.set(clientId, out);
    this.#save();
    this.#flush();
    return out;
  }

  /** Finds a person by {account} or {user_id}; rejects with a Refusal NOT_FOUND. */
  findUser({ account = '', user_id = 0 }) {
    return this.request(Action.FIND_USER, account ? { account } : { user_id });
  }

  /**
   * Changes the password, which ends the other devices, or with `all` this one too. Rejects with a
   * Refusal BAD_CREDENTIALS when the old one is wrong; after Unanswered it may be the new one.
   * @returns {Promise<string[]>} the devices that were signed out
   */
  async changePassword({ password, newPassword, all = false }) {
    const told = this.request(Action.CHANGE_PASSWORD, { password, new_password: newPassword, sign_out_all: all });
    const { device_ids: ended = [] } = await told;
    if (all) this.#forgetSession();
    return ended;
  }

  /** Says where this device gets pushes while it is not connected: `{provider: 'webpush', token}`; `{}`: nowhere. */
  async setPushToken({ provider = '', token = '' }) {
    await this.request(Action.SET_PUSH_TOKEN, { provider, token });
  }

  /**
   * Leaves: signs out everywhere and is hidden, until the next sign-in, or until `erase_ms`, when all is
   * erased; with `deactivate` that never happens. Who has no password gives the `token` of his issuer.
   * @returns {Promise<number>} erase_ms, 0 for never
   */
  async deleteAccount({ password = '', token = '', deactivate = false }) {
    const { erase_ms = 0 } = await this.request(Action.DELETE_ACCOUNT, { password, token, deactivate });
    this.#forgetSession();
    return erase_ms;
  }

  /** A copy of all that is kept of this person, by plugin: `{account: {…}, chat: {…}}`. */
  async exportData() {
    const { made_ms, contents = [] } = await this.request(Action.EXPORT);
    const all = {};
    for (const { plugin, parts } of contents) {
      let text = '';
      for (let part = 0; part < parts; part += 1) text += (await this.request(Action.EXPORT, { made_ms, plugin, part })).json;
      all[plugin] = JSON.parse(text);
    }
    return all;
  }

  /** This person's own profile, whole. */
  async profile() {
    return (await this.request(Action.PROFILE)).profiles[0];
  }

  /**
   * What others show of their profiles, in the order asked; who is not there is left out.
   * @param {number[]} userIds at most 100
   */
  async profiles(userIds) {
    return userIds.length ? (await this.request(Action.PROFILE, { user_ids: userIds })).profiles ?? [] : [];
  }

  /**
   * Changes the fields that are given, as `{nickname: 'Al', city: ''}`; the others stay. Gives the
   * profile as it is then. Rejects with a Refusal that names the `field` which breaks its rule.
   */
  async updateProfile(fields) {
    return (await this.request(Action.UPDATE_PROFILE, fields)).profile;
  }

  /** Finds people by the beginning of a handle, an account or a nickname; `cursor` is that of the page before. */
  async searchUsers(query, { cursor = '', limit = 0 } = {}) {
    const { people = [], cursor: next = '', has_more = false } = await this.request(Action.SEARCH_USERS, { query, cursor, limit });
    return { people, cursor: next, has_more };
  }

  /**
   * Publishes as this person: `{text, images: ['https://…' or 'file:ID'], video: {url, cover}, place: {name, latitude,
   * longitude}, visibility, user_ids}`. Call it again with the same `clientId` until it is answered: it is published once.
   */
  publishMoment(moment, { clientId = randomId() } = {}) {
    return this.request(Action.PUBLISH_MOMENT, { ...moment, client_id: clientId });
  }

  /** Deletes one of one's own, with its likes and comments. */
  async deleteMoment(id) {
    await this.request(Action.DELETE_MOMENT, { moment_id: id });
  }

  /** Changes who sees one of one's own. @param {number} visibility of MomentVisibility */
  async setMomentVisibility(id, visibility, userIds = []) {
    return (await this.request(Action.SET_MOMENT_VISIBILITY, { moment_id: id, visibility, user_ids: userIds })).moment;
  }

  /** One that this person may see. */
  async moment(id) {
    return (await this.request(Action.GET_MOMENT, { moment_id: id })).moment;
  }

  /** One's own moments and those of friends, the newest first; `cursor` is that of the page before. */
  momentFeed({ cursor = '', limit = 0 } = {}) {
    return this.#page(Action.MOMENT_FEED, 'moments', { cursor, limit });
  }

  /** One person's moments, as far as this one may see them. */
  momentsOf(userId, { cursor = '', limit = 0 } = {}) {
    return this.#page(Action.LIST_MOMENTS, 'moments', { user_id: userId, cursor, limit });
  }

  /** Everybody's public moments. */
  momentSquare({ cursor = '', limit = 0 } = {}) {
    return this.#page(Action.MOMENT_SQUARE, 'moments', { cursor, limit });
  }

  /** Likes a moment, once; gives how many likes it has. */
  async likeMoment(id) {
    return (await this.request(Action.LIKE_MOMENT, { moment_id: id })).likes ?? 0;
  }

  /** Takes one's like back; gives how many are left. */
  async unlikeMoment(id) {
    return (await this.request(Action.UNLIKE_MOMENT, { moment_id: id })).likes ?? 0;
  }

  /** Comments on a moment, or with `replyTo` on a comment on it. Call it again with the same `clientId` until it is answered. */
  commentMoment(id, text, { replyTo = '', clientId = randomId() } = {}) {
    return this.request(Action.COMMENT_MOMENT, { client_id: clientId, moment_id: id, text, reply_to: replyTo });
  }

  /** Deletes one's own comment, or one on one's own moment. */
  async deleteComment(id) {
    await this.request(Action.DELETE_COMMENT, { comment_id: id });
  }

  /** Who likes a moment, the oldest like first. */
  momentLikes(id, { cursor = '', limit = 0 } = {}) {
    return this.#page(Action.MOMENT_LIKES, 'likes', { moment_id: id, cursor, limit });
  }

  /** The comments on a moment, the oldest first. */
  momentComments(id, { cursor = '', limit = 0 } = {}) {
    return this.#page(Action.MOMENT_COMMENTS, 'comments', { moment_id: id, cursor, limit });
  }

  async #page(action, name, body) {
    const { [name]: all = [], cursor = '', has_more = false } = await this.request(action, body);
    return { [name]: all, cursor, has_more };
  }

  /**
   * Uploads a Blob or a File, and gives what is known of it: refer to it as `file:${id}`. It is deleted in a day if
   * nothing does. What fails on the way is tried again as long as the ticket holds. The page must be secure (https, or
   * localhost): else a browser makes no hashes.
   * @param {Blob} blob
   * @param {{name?: string, type?: string, onProgress?: (sent: number, size: number) => void, signal?: AbortSignal}} [options]
   *   name and type: default those of the File; onProgress needs XMLHttpRequest to know more than the end
   * @returns {Promise<{id: string, name: string, size: number, type: string, sha256: string, time_ms: number}>}
   */
  async upload(blob, { name = blob.name || 'file', type = blob.type, onProgress = () => {}, signal } = {}) {
    const sha256 = await hashOf(blob);
    const kind = (type || 'application/octet-stream').split(';')[0].trim().toLowerCase();
    const ticket = await this.request(Action.UPLOAD_FILE, { name, size: blob.size, type: kind, sha256 });
    const url = this.#httpURL(ticket.url);
    for (let tries = 0; ; tries += 1) {
      signal?.throwIfAborted();
      try {
        await sendBlob({ ...ticket, url }, blob, onProgress, signal);
        break;
      } catch (err) {
        const pause = Math.max(err.retryAfterMs ?? 0, Math.min(1000 * 2 ** tries, 30_000) * (0.5 + this.#random() / 2));
        if (signal?.aborted || !err.again || tries >= 8 || this.#clock.now() + pause >= ticket.expires_ms) throw err;
        await new Promise((resolve) => { this.#clock.setTimeout(resolve, pause); });
      }
    }
    return (await this.request(Action.COMMIT_FILE, { file_id: ticket.file_id })).file;
  }

  /** Where files can be read until `expires_ms`: `[{file, url, expires_ms}]`, in the order of the IDs (50 at most), without those that are gone. */
  async fileURLs(ids) {
    const { files = [] } = await this.request(Action.FILE_URL, { file_ids: ids });
    return files.map((one) => ({ ...one, url: this.#httpURL(one.url) }));
  }

  /** One's own files, the newest first; `cursor` is that of the page before. `used`: something refers to it. */
  files({ cursor = '', limit = 0 } = {}) {
    return this.#page(Action.LIST_FILES, 'files', { cursor, limit });
  }

  /** Deletes one of one's own files, to which nothing refers. */
  async deleteFile(id) {
    await this.request(Action.DELETE_FILE, { file_id: id });
  }

  /** A URL of the server's, whose own begin with "/". */
  #httpURL(url) {
    return new URL(url, this.#url.replace(/^ws/, 'http')).href;
  }

  /**
   * Asks somebody to be a friend. `friends` is true when both are at once, since the other had applied too.
   * @param {number} userId
   * @param {{remark?: string, answer?: string}} [words] answer is to the question of `relation`
   */
  async apply(userId, { remark = '', answer = '' } = {}) {
    const { friends = false, expires_ms = 0 } = await this.request(Action.APPLY, { user_id: userId, remark, answer });
    return { friends, expires_ms };
  }

  /** Accepts somebody's application; gives the friend. */
  async acceptFriend(userId) {
    return (await this.request(Action.ACCEPT, { user_id: userId })).friend;
  }

  /** Refuses somebody's application. */
  async refuseFriend(userId) {
    await this.request(Action.REFUSE, { user_id: userId });
  }

  /** Takes this person's application back. */
  async withdrawApplication(userId) {
    await this.request(Action.WITHDRAW, { user_id: userId });
  }

  /** A page of applications, the newest first: others', or with `outgoing` this person's own. */
  async applications({ outgoing = false, cursor = '', limit = 0 } = {}) {
    const { applications = [], has_more = false, next = '' } = await this.request(Action.APPLICATIONS, { outgoing, cursor, limit });
    return { applications, has_more, next };
  }

  /**
   * A page of the list of friends; with `since`, of a page before, what changed in it.
   * `restarted`: that is not known any more, ask for the list.
   */
  async friends({ cursor = '', since = '', limit = 0 } = {}) {
    const rep = await this.request(Action.FRIENDS, { cursor, since, limit });
    return { friends: [], has_more: false, next: '', since: '', restarted: false, total: 0, ...rep };
  }

  /** Ends a friendship. */
  async deleteFriend(userId) {
    await this.request(Action.DELETE_FRIEND, { user_id: userId });
  }

  /** Sets what this person calls a friend. */
  async setAlias(userId, alias) {
    return (await this.request(Action.SET_ALIAS, { user_id: userId, alias })).friend;
  }

  /** Friends of friends, the most friends in common first. */
  async suggestions({ limit = 0 } = {}) {
    return (await this.request(Action.SUGGESTIONS, { limit })).suggestions ?? [];
  }

  /**
   * Which friends are online, and "presence" events of those who come and go, until leaseMs are over
   * or the connection is: ask again before that.
   * @param {number[]} userIds at most 200
   */
  async presence(userIds) {
    const { states = [], lease_ms: leaseMs = 0 } = await this.request(Action.PRESENCE, { user_ids: userIds });
    return { states: states.map(wholePresence), leaseMs };
  }

  /** Keeps somebody from writing to this person. */
  async block(userId) {
    await this.request(Action.BLOCK, { user_id: userId });
  }

  /** Lets somebody write again. */
  async unblock(userId) {
    await this.request(Action.UNBLOCK, { user_id: userId });
  }

  /** A page of those whom this person blocks. */
  async blocks({ cursor = '', limit = 0 } = {}) {
    const { blocked = [], has_more = false, next = '', total = 0 } = await this.request(Action.BLOCKS, { cursor, limit });
    return { blocked, has_more, next, total };
  }

  /** This person's groups of friends, in their order. */
  async friendGroups() {
    return (await this.request(Action.FRIEND_GROUPS)).groups ?? [];
  }

  /** Makes a group of friends. */
  async createFriendGroup(name) {
    return (await this.request(Action.CREATE_FRIEND_GROUP, { name })).group;
  }

  /** Gives a group of friends another name. */
  async renameFriendGroup(groupId, name) {
    return (await this.request(Action.RENAME_FRIEND_GROUP, { group_id: groupId, name })).group;
  }

  /** Deletes a group of friends; the friends stay, in no group. */
  async deleteFriendGroup(groupId) {
    await this.request(Action.DELETE_FRIEND_GROUP, { group_id: groupId });
  }

  /** Sets the order of all groups of friends. */
  async orderFriendGroups(groupIds) {
    return (await this.request(Action.ORDER_FRIEND_GROUPS, { group_ids: groupIds })).groups ?? [];
  }

  /** Puts friends into a group, all or none; 0: into none. */
  async moveFriends(groupId, userIds) {
    await this.request(Action.MOVE_FRIENDS, { group_id: groupId, user_ids: userIds });
  }

  /** Who may write to and apply to this person; with fields, as `{strangers: false}`, changes them. */
  async socialSettings(fields = {}) {
    const names = Object.keys(fields);
    const { settings = {} } = names.length
      ? await this.request(Action.UPDATE_SOCIAL_SETTINGS, { fields: names, ...fields })
      : await this.request(Action.SOCIAL_SETTINGS);
    return { strangers: false, apply: 0, question: '', hide_last_seen: false, ...settings };
  }

  /** How this person stands to somebody. */
  async relation(userId) {
    return { friend: null, incoming: null, outgoing: null, blocked: false, apply: 0, question: '', ...await this.request(Action.RELATION, { user_id: userId }) };
  }

  /** Says that this person has read a conversation up to seq; gives whether that was new. */
  async markRead(conversation, seq) {
    return (await this.request(Action.READ, { conversation_id: conversation, seq })).moved ?? false;
  }

  /** Takes a message back, for everybody; gives what became of it, for applyBecame. It may be called again. */
  async recall(message) {
    return (await this.request(Action.RECALL, nameOfMessage(message))).became;
  }

  /**
   * Changes a message that an application keeps to what became of it, as an EVENT that is about it says: a recall at once;
   * another text and reactions no event tells, so the message is read again. Gives whether that was anything new.
   */
  async follow(message, { conversation_id: conversation, about, became }) {
    if (about?.message_id !== message.id || !became || became.revision <= (message.became?.revision ?? 0)) return false;
    if (became.recalled) return applyBecame(message, became);
    const { messages } = await this.history(conversation, { beforeSeq: about.seq + 1, limit: 1 });
    const now = messages.find(({ id }) => id === message.id);
    return now?.became ? applyBecame(message, { ...now.became, text: now.text }) : false;
  }

  /** Has a message of this person's that waits for a decision never be committed. */
  async recallHeld(heldId) {
    await this.request(Action.RECALL, { held_id: heldId });
  }

  /**
   * Gives one's own message another text, or caption; gives what became of it, for applyBecame. `version` is which one the
   * text is made of: if it is another by now, it rejects with a Refusal CONFLICT.
   */
  async edit(message, text, { version = 0 } = {}) {
    return (await this.request(Action.EDIT, { ...nameOfMessage(message), text, version })).became;
  }

  /** How an edited message read before, the oldest version first. */
  async versions(message, { afterVersion = 0, limit = 0 } = {}) {
    const { versions = [], has_more = false } = await this.request(Action.VERSIONS, { ...nameOfMessage(message), after_version: afterVersion, limit });
    return { versions, has_more };
  }

  /** Adds a reaction to a message, an emoji or a word, or takes it away; gives what became of it, for applyBecame. */
  async react(message, reaction, { remove = false } = {}) {
    return (await this.request(Action.REACT, { ...nameOfMessage(message), reaction, remove })).became;
  }

  /** Who reacted so to a message, by user ID. */
  async reactions(message, reaction, { afterUserId = 0, limit = 0 } = {}) {
    const body = { ...nameOfMessage(message), reaction, after_user_id: afterUserId, limit };
    const { reacted = [], has_more = false } = await this.request(Action.REACTIONS, body);
    return { reacted, has_more };
  }

  /**
   * Has a message be sent later, at a time in ms; `message` is as in SendRequest, with a client_id of its own: the same again gives the same answer.
   * The event chat.scheduled tells what becomes of it. Asked again it gives the same; once it is sent, state 2, without an ID.
   */
  async schedule(message, atMs) {
    return (await this.request(Action.SCHEDULE, { message, at_ms: atMs })).scheduled;
  }

  /** A page of this person's messages that are to be sent later, or could not be. */
  async scheduled({ afterId = '', limit = 0 } = {}) {
    const { scheduled = [], has_more = false } = await this.request(Action.LIST_SCHEDULED, { after_id: afterId, limit });
    return { scheduled, has_more };
  }

  /** Gives a scheduled message another time or text, as `{atMs, text, version}`. */
  async reschedule(id, { atMs = 0, text, version = 0 } = {}) {
    return (await this.request(Action.RESCHEDULE, { id, at_ms: atMs, text, version })).scheduled;
  }

  /** Has a scheduled message not be sent. */
  async unschedule(id) {
    await this.request(Action.UNSCHEDULE, { id });
  }

  /**
   * Looks for messages in this person's own conversations, the newest first: all words of `text` must be in one, as parts of words too.
   * One call looks at so many messages only: while `has_more`, ask again with `cursor`, also if nothing was found.
   */
  async searchMessages(text, { conversation = '', senderId = 0, kinds = [], fromMs = 0, untilMs = 0, cursor = '', limit = 0 } = {}) {
    const body = { text, conversation_id: conversation, sender_id: senderId, kinds, from_ms: fromMs, until_ms: untilMs, cursor, limit };
    const { messages = [], cursor: next = '', has_more = false, searched_to_ms = 0 } = await this.request(Action.SEARCH_MESSAGES, body);
    return { messages: messages.map(whole), cursor: next, has_more, searched_to_ms };
  }

  /** A page of this person's conversations, the pinned ones first, then by newest activity; `cursor` is that of the page before. */
  async conversations({ cursor = '', limit = 0, hidden = false } = {}) {
    const { conversations = [], cursor: next = '', has_more = false } = await this.request(Action.LIST_CONVERSATIONS, { cursor, limit, hidden });
    return { conversations: conversations.map(wholeConversation), cursor: next, has_more };
  }

  /** Changes what is given, as `{pinned: true, mute: Mute.SILENT, draft: '', hidden: true, delete: true}`; gives the conversation as it is then. */
  async updateConversation(conversation, fields) {
    return wholeConversation((await this.request(Action.UPDATE_CONVERSATION, { ...fields, conversation_id: conversation })).conversation);
  }

  /** Who has read a message of a group so far, and how many may read it. */
  async readers({ conversation_id, seq }) {
    const { user_ids: userIds = [], of = 0 } = await this.request(Action.READERS, { conversation_id, seq });
    return { userIds, of };
  }

  /**
   * After how long messages of a conversation, or to a person (user ID, a number), disappear, in ms; 0: they stay. With `lifetimeMs` it is
   * settled for those that are sent from then on. The event chat.lifetime tells all devices.
   */
  async lifetime(to, lifetimeMs) {
    const where = typeof to === 'number' ? { to_user_id: to } : { conversation_id: to };
    const { lifetime_ms = 0, set_by = 0, set_ms = 0 } = await this.request(Action.LIFETIME, lifetimeMs === undefined ? where : { ...where, lifetime_ms: lifetimeMs });
    return { lifetime_ms, set_by, set_ms };
  }

  /** Says that this person types to another one (user ID, a number) or in a group (its conversation), or has stopped. */
  async typing(to, { stopped = false } = {}) {
    await this.request(Action.TYPING, { ...(typeof to === 'number' ? { to_user_id: to } : { conversation_id: to }), stopped });
  }

  /** Changes the settings that are given, as `{read_receipts: false}`; gives all as they are then. */
  async chatSettings(fields = {}) {
    return { read_receipts: false, ...(await this.request(Action.CHAT_SETTINGS, fields)).settings };
  }

  /**
   * Reads a conversation's log: newest first below `beforeSeq` (default: the end),
   * or oldest first above `afterSeq`.
   * @param {number | string} conversation a conversation ID, or the user ID of the other person
   */
  async history(conversation, { beforeSeq = 0, afterSeq = 0, limit = 0 } = {}) {
    const which = typeof conversation === 'number' ? { with_user_id: conversation } : { conversation_id: conversation };
    const body = { ...which, before_seq: beforeSeq, after_seq: afterSeq, limit };
    const { messages = [], has_more = false, floor = 0, conversation_id = '' } = await this.request(Action.HISTORY, body);
    return { messages: messages.map(whole), has_more, floor, conversation_id };
  }

  /** This person's messages that wait for a decision, or were denied within a day, the oldest first. */
  async held({ afterHeldId = '', limit = 0 } = {}) {
    const { held = [], has_more = false } = await this.request(Action.HELD, { after_held_id: afterHeldId, limit });
    return { held: held.map(wholeHeld), has_more };
  }

  /** Makes a group; with the same client ID again it gives the same. `people` are invited. Gives {group, invited}. */
  createGroup(name, { people = [], clientId = randomId(), ...more } = {}) {
    return this.request(Action.CREATE_GROUP, { ...more, name, client_id: clientId, user_ids: people });
  }

  /** A group by its ID: {group, invited, applied}. Its messages go by group.conversation_id, as those of chats. */
  group(group) {
    return this.request(Action.GROUP_INFO, { group_id: group });
  }

  /** The groups in which this person is, by ID. */
  async groups({ afterGroup = 0, limit = 0 } = {}) {
    const { groups = [], has_more = false } = await this.request(Action.LIST_GROUPS, { after_group_id: afterGroup, limit });
    return { groups, has_more };
  }

  /** Members, those with a role first, or those whose names hold a text, where a page may be short, or empty, while there are more; `cursor` is that of the page before. */
  async groupMembers(group, { query = '', cursor = '', limit = 0 } = {}) {
    const rep = await this.request(Action.GROUP_MEMBERS, { group_id: group, query, cursor, limit });
    return { members: [], has_more: false, cursor: '', ...rep };
  }

  /** Sets a group's texts and settings: the fields that are given. */
  async updateGroup(group, fields) {
    return (await this.request(Action.UPDATE_GROUP, { ...fields, group_id: group, fields: Object.keys(fields) })).group;
  }

  /** Ends a group of one's own. */
  async dissolveGroup(group) {
    await this.request(Action.DISSOLVE_GROUP, { group_id: group });
  }

  /** Brings people into a group, or asks them to come: what becomes of each. */
  async inviteToGroup(group, people) {
    return (await this.request(Action.INVITE_TO_GROUP, { group_id: group, user_ids: people })).invited ?? [];
  }

  /** Accepts an invitation, which gives the group, or declines it. */
  async answerInvitation(group, accept) {
    return (await this.request(Action.ANSWER_INVITATION, { group_id: group, accept })).group;
  }

  /** Comes into a group, or applies to: {joined, group, expires_ms}. */
  async joinGroup(group, { remark = '', answer = '' } = {}) {
    const { joined = false, ...rep } = await this.request(Action.JOIN_GROUP, { group_id: group, remark, answer });
    return { joined, ...rep };
  }

  /** Approves an application, or refuses it. */
  async decideApplication(group, person, approve, reason = '') {
    await this.request(Action.DECIDE_APPLICATION, { group_id: group, user_id: person, approve, reason });
  }

  /** The invitations and applications that wait: one's own, or those of a group. */
  async groupRequests({ group = 0, cursor = '', limit = 0 } = {}) {
    const { requests = [], cursor: next = '', has_more = false } = await this.request(Action.GROUP_REQUESTS, { group_id: group, cursor, limit });
    return { requests, cursor: next, has_more };
  }

  /** Takes back an application of one's own, or the invitation of a person. */
  async withdrawRequest(group, person = 0) {
    await this.request(Action.WITHDRAW_REQUEST, { group_id: group, user_id: person });
  }

  async leaveGroup(group) {
    await this.request(Action.LEAVE_GROUP, { group_id: group });
  }

  /** Puts members out, all or none; gives those who were members. */
  async removeFromGroup(group, people, reason = '') {
    return (await this.request(Action.REMOVE_FROM_GROUP, { group_id: group, user_ids: people, reason })).user_ids ?? [];
  }

  /** Makes a member the owner of one's group. */
  async transferGroup(group, person) {
    await this.request(Action.TRANSFER_GROUP, { group_id: group, user_id: person });
  }

  /** Makes a member an admin (role 2), or an admin a member (3). */
  async setGroupRole(group, person, role, permissions = 0) {
    await this.request(Action.SET_GROUP_ROLE, { group_id: group, user_id: person, role, permissions });
  }

  /** Has a member (0: all) write nothing until a time; -1: for good, 0: not any more. */
  async muteInGroup(group, person, untilMs, reason = '') {
    await this.request(Action.MUTE_IN_GROUP, { group_id: group, user_id: person, until_ms: untilMs, reason });
  }

  /** Keeps somebody out until a time; -1: for good, 0: not any more. */
  async banFromGroup(group, person, untilMs, reason = '') {
    await this.request(Action.BAN_FROM_GROUP, { group_id: group, user_id: person, until_ms: untilMs, reason });
  }

  async groupBans(group, { afterUser = 0, limit = 0 } = {}) {
    const { bans = [], has_more = false } = await this.request(Action.GROUP_BANS, { group_id: group, after_user_id: afterUser, limit });
    return { bans, has_more };
  }

  /** Sets one's own alias and notify (0 normal, 1 silent, 2 none) in a group: the fields that are given. */
  async setGroupSelf(group, fields) {
    return (await this.request(Action.SET_GROUP_SELF, { ...fields, group_id: group, fields: Object.keys(fields) })).me;
  }

  /** The devices that are signed in, the newest sign-in first. */
  async devices() {
    return (await this.request(Action.LIST_DEVICES)).devices ?? [];
  }

  /** Up to which seq a device of the peer's holds a conversation, as far as known here. */
  deliveredSeq(conversationId) {
    return this.#delivered.get(conversationId) ?? 0;
  }

  // ------------------------------------------------------------------- rooms

  /** The names of the rooms that the client is in, or comes back to. */
  get rooms() {
    return [...this.#rooms.keys()];
  }

  /**
   * Comes into a room and stays, over reconnects, until leaveRoom or until the
   * server says no. The messages of the answer are told as "roommessage" too.
   * @param {string} room
   * @param {{afterSeq?: number, last?: number}} [options] afterSeq: what is known already; last: how many
   *   of the last entries come at first, up to 100; default as the server likes, -1: none
   * @returns {Promise<object>} the JoinRoomReply. Rejects with Refusal
   */
  joinRoom(room, { afterSeq = 0, last = 0 } = {}) {
    room = nameOfRoom(room);
    this.#forgetRoom(this.#rooms.get(room), new Unanswered('joined anew'));
    const wanted = new Room(room, last);
    wanted.settled.add(1, afterSeq);
    this.#rooms.set(room, wanted);
    if (this.#link) this.#joinRoom(this.#link, wanted);
    return wanted.first.promise;
  }

  /**
   * Leaves a room; nothing of it is told afterwards.
   * @returns {Promise<boolean>} whether the client was in it
   */
  async leaveRoom(room) {
    room = nameOfRoom(room);
    const known = this.#rooms.get(room);
    this.#forgetRoom(known, new Unanswered('left'));
    const link = known?.link ?? known?.asking;
    if (!link || link !== this.#link) return Boolean(known); // with its connection a session leaves all rooms
    await link.request(Action.LEAVE_ROOM, { room });
    return true;
  }

  /**
   * Sends a message to a room that the client is in, as often as it takes. Those of one kind
   * go one by one, in the order in which they were begun: a gift waits for no slow text.
   * @returns {Promise<object>} the RoomSendReply; the message itself is told in its place. Rejects with Refusal,
   *   or with Unanswered when the client is closed or leaves the room first: then nobody knows
   */
  async sendRoom(room, text, { kind = RoomKind.TEXT, data = '', clientId = randomId() } = {}) {
    room = nameOfRoom(room);
    const place = `${kind} ${room}`;
    const before = this.#roomTurns.get(place) ?? Promise.resolve();
    const sent = before.then(() => this.#sendToRoom({ room, client_id: clientId, kind, text, data }));
    const turn = sent.catch(() => {}).then(() => this.#roomTurns.get(place) === turn && this.#roomTurns.delete(place));
    this.#roomTurns.set(place, turn);
    return sent;
  }

  async #sendToRoom(body) {
    for (let faults = 0; ; ) {
      const link = await this.#inRoom(body.room);
      try {
        const reply = await link.request(Action.ROOM_MESSAGE, body);
        return { rewritten: false, duplicate: false, ...reply };
      } catch (error) {
        if (error instanceof Unanswered) continue;
        if (error.code === Code.INTERNAL) faults++;
        if (!error.temporary || faults >= MAX_FAULTS) throw error;
        await this.#afterFault(error);
      }
    }
  }

  /** Reads a room's log: newest first below `beforeSeq` (default: the end), or oldest first above `afterSeq`. */
  async roomHistory(room, { beforeSeq = 0, afterSeq = 0, limit = 0 } = {}) {
    const body = { room, before_seq: beforeSeq, after_seq: afterSeq, limit };
    const { messages = [], has_more = false, floor = 0 } = await this.request(Action.ROOM_HISTORY, body);
    return { messages: messages.map(wholeRoomMessage), has_more, floor };
  }

  /** A room's settings and size. */
  roomInfo(room) {
    return this.request(Action.ROOM_INFO, { room });
  }

  /** The link on which the client is in the room; waits for one. */
  async #inRoom(room) {
    for (;;) {
      const known = this.#rooms.get(room);
      if (!known || !this.#life) throw new Unanswered(known ? 'closed by this client' : `not in the room ${room}`);
      if (known.link && known.link === this.#link) return known.link;
      await new Promise((resolve) => this.#clock.setTimeout(resolve, ROOM_LOOK_MS));
    }
  }

  #forgetRoom(room, why) {
    if (!room) return;
    this.#rooms.delete(room.name);
    room.first.promise.catch(() => {}); // who waits for it hears of it, nobody else has to
    room.first.reject(why);
  }

  /** Joins on a link, as often as the server asks to try again. */
  async #joinRoom(link, room) {
    room.asking = link;
    const current = () => this.#link === link && this.#rooms.get(room.name) === room;
    const { through } = room.settled;
    try {
      const last = through > 0 ? CATCH_PAGE : room.last;
      const reply = await link.request(Action.JOIN_ROOM, { room: room.name, after_seq: through, last });
      if (current()) await this.#joinedRoom(link, room, through, reply);
    } catch (error) {
      if (!current() || error instanceof Unanswered) return;
      if (!error.temporary) return this.#outOfRoom(room, { reason: RoomLeftReason.UNKNOWN, message: error.message, error });
      const limit = Math.min(MAX_BACKOFF_MS, 1000 * 2 ** room.failures++);
      await new Promise((resolve) => this.#clock.setTimeout(resolve, Math.max(error.retryAfterMs, limit)));
      if (current()) return this.#joinRoom(link, room);
    }
  }

  async #joinedRoom(link, room, after, reply) {
    const { head = 0, info = {}, has_more: more = false } = reply;
    const messages = (reply.messages ?? []).map(wholeRoomMessage);
    this.#renameRoom(room, info.room || room.name);
    const first = messages[0]?.seq ?? head + 1;
    Object.assign(room, { link, asking: null, failures: 0 });
    if (after > 0 && more) { // what lies between comes first
      Object.assign(room, { held: [...messages, ...room.held], target: first - 1 });
    } else {
      if (after === 0) room.settled.add(1, first - 1); // what lies before was not asked for
      room.target = head;
      this.#takePage(room, messages);
    }
    room.first.resolve({ has_more: false, head, role: 0, muted_until_ms: 0, ...reply, messages });
    if (after > 0 && more) await this.#catchUp(link, room);
    if (room.link === link) this.#caughtUp(room);
  }

  #renameRoom(room, name) {
    if (name === room.name) return;
    this.#rooms.delete(room.name);
    this.#forgetRoom(this.#rooms.get(name), new Unanswered('joined anew'));
    room.name = name;
    this.#rooms.set(name, room);
  }

  /** Reads what was missed, as far as that makes sense. */
  async #catchUp(link, room) {
    for (let page = 0; page < CATCH_PAGES && room.settled.through < room.target; page++) {
      try {
        const body = { room: room.name, after_seq: room.settled.through, limit: CATCH_PAGE };
        const { messages = [], has_more: more } = await link.request(Action.ROOM_HISTORY, body);
        if (room.link !== link || this.#link !== link) return;
        this.#takePage(room, messages.map(wholeRoomMessage));
        if (!more) return;
      } catch {
        return; // the rest is skipped
      }
    }
  }

  /** A page of the log, oldest first: what lies between its entries is not there. */
  #takePage(room, messages) {
    for (const message of messages.filter(({ seq }) => seq > room.settled.through)) {
      this.#skip(room, room.settled.through + 1, message.seq - 1, RoomSkipReason.LOST);
      this.#tellRoom(room, message);
    }
  }

  /** Gives up what is still missing, and goes over to pushes. */
  #caughtUp(room) {
    this.#skip(room, room.settled.through + 1, room.target, RoomSkipReason.SLOW);
    const { held } = room;
    Object.assign(room, { target: 0, held: [] });
    for (const message of held) this.#tellRoom(room, message);
  }

  #tellRoom(room, message) {
    if (room.settled.has(message.seq)) return;
    this.#settleSeqs(room, message.seq, message.seq);
    this.#emitRoomMessage(message);
  }

  #emitRoomMessage(message) {
    this.#emit('roommessage', { message, own: message.sender_id === this.#me?.user_id });
  }

  #skip(room, from, to, reason) {
    const ranges = room.settled.missing(from, to);
    if (ranges.length === 0) return;
    this.#settleSeqs(room, from, to);
    this.#emit('roomskip', { room: room.name, ranges, reason });
  }

  #settleSeqs(room, from, to) {
    const lost = room.settled.add(from, to);
    if (lost.length > 0) this.#emit('roomskip', { room: room.name, ranges: lost, reason: RoomSkipReason.LOST });
  }

  #outOfRoom(room, { reason = 0, message = '', until_ms = 0, error = null }) {
    const name = room.name;
    const waiting = !room.link && error;
    this.#forgetRoom(room, error ?? new Unanswered(message));
    if (!waiting || room.settled.through > 0) this.#emit('roomleft', { room: name, reason, until_ms, message, error });
  }

  #takeRoomPush(action, body) {
    const room = this.#rooms.get(body.room);
    if (!room?.link && !room?.asking) return;
    switch (action) {
      case Action.ROOM_MESSAGE: {
        const message = wholeRoomMessage(body);
        if (message.seq === 0) this.#emitRoomMessage(message); // in no log: told as it comes
        else if (room.link && room.target === 0) this.#tellRoom(room, message);
        else if (room.held.length < MAX_HELD) room.held.push(message);
        else this.#skip(room, message.seq, message.seq, RoomSkipReason.SLOW);
        break;
      }
      case Action.ROOM_HISTORY:
        for (const { from = 0, to = 0 } of body.ranges ?? []) this.#skip(room, from, to, body.reason ?? 0);
        break;
      case Action.LEAVE_ROOM:
        if (body.reason !== RoomLeftReason.SLOW) return this.#outOfRoom(room, body);
        Object.assign(room, { link: null, held: [], target: 0 });
        this.#joinRoom(this.#link, room);
        break;
      case Action.ROOM_INFO:
        this.#emit('roominfo', { members: 0, ...body });
        break;
      case Action.ROOM_MEMBERS:
        this.#emit('roompresence', { came: [], went: [], ...body });
    }
  }

  /** A new session: all rooms are to be joined again. */
  #joinRooms(link) {
    for (const room of this.#rooms.values()) {
      Object.assign(room, { link: null, held: [], target: 0 });
      this.#joinRoom(link, room);
    }
  }

  /**
   * Any action, such as one that a plugin or a Lua script defines. It is sent
   * once: rejects with Refusal, or with Unanswered when offline or cut off.
   * @returns {Promise<object>} the answer's body
   */
  request(action, body = {}) {
    if (!this.#link) return Promise.reject(new Unanswered('not online'));
    return this.#link.request(action, body);
  }

  /**
   * Calls an action that the operator's scripts define, by its number, 200 to 254, or in
   * mode 'text' by its name. It is sent once: after an Unanswered nobody knows whether it
   * happened, and the action's description says whether it may be sent again.
   * @param {number | string} action 200, "lua.poll.create"
   * @param {object} [body] the fields of its request
   * @returns {Promise<object>} its reply
   */
  async action(action, body = {}) {
    if (typeof action === 'string' && this.#linkOptions.mode !== 'text') {
      throw new TypeError(`${action}: in binary frames an action has a number, not a name`);
    }
    return this.request(action, body);
  }

  // ------------------------------------------------------ the life of a client

  /** Starts a life, on a link that is open already or none. */
  #live(link) {
    this.#life = {};
    this.#failures = 0;
    this.#firstOnline = withResolvers();
    const { promise } = this.#firstOnline;
    this.#keepOnline(this.#life, link);
    return promise;
  }

  /** One session after the other, until the server or close() ends that. */
  async #keepOnline(life, link) {
    while (this.#life === life) {
      this.#enter('connecting');
      const startedAt = this.#clock.now();
      const ending = await this.#session(life, link);
      link = null;
      if (this.#life !== life) return;
      const haunted = this.#haunted(ending);
      if (!ending.reconnect && !haunted) return this.#finish(ending);
      if (this.#clock.now() - startedAt > STABLE_MS) this.#failures = 0;
      await this.#pause(haunted ? { ...ending, reason: 0 } : ending);
    }
  }

  /** Whether the device's newer session is, most likely, an earlier attempt of this client's own. */
  #haunted({ reason, error }) {
    const replaced = reason === CloseReason.REPLACED || error?.code === Code.PERMISSION_DENIED;
    return replaced && this.#clock.now() - this.#ghostAt < GHOST_MS;
  }

  /** One session from connection to close; gives how it ended. */
  async #session(life, link) {
    let asked = false;
    try {
      link ??= await this.#open();
      if (this.#life !== life) return link.quit();
      asked = true;
      const reply = await link.request(Action.AUTH, { token: this.#token });
      asked = false;
      if (this.#life !== life) return link.quit();
      this.#welcome(link, reply);
    } catch (error) {
      link?.quit();
      const decided = error.ending ? error.ending.reason !== 0 : error.temporary === false;
      if (asked && !decided) this.#ghostAt = this.#clock.now();
      if (error.ending) return error.ending;
      const { message, retryAfterMs = 0, temporary = true } = error; // an Unanswered is temporary
      return { reason: 0, message, error, reconnect: temporary, retryAfterMs, jitterMs: 0 };
    }
    return link.closed;
  }

  #open() {
    return Link.open(this.#url, this.#linkOptions);
  }

  /** Auth succeeded: catches up, and sends what waits. */
  #welcome(link, reply) {
    const { user_id, account = '', nickname = '', epoch = '', heartbeat_ms = 30_000, max_body = 65536 } = reply;
    if (this.#me && this.#me.user_id !== user_id) this.#forget();
    this.#me = { user_id, account, nickname };
    if (this.#inbox.epoch !== epoch) this.#restart('epoch', epoch);
    this.#link = link;
    this.#sending.clear();
    this.#acking.clear();
    this.#syncing = this.#syncAgain = false;
    link.maxBody = max_body;
    link.keepAlive(heartbeat_ms);
    this.#save();
    this.#enter('online');
    this.#firstOnline?.resolve(this.#me);
    this.#firstOnline = null;
    this.#sync();
    this.#flush();
    this.#acknowledge();
    this.#joinRooms(link);
    if (this.#held.size) this.#askHeld(link);
  }

  /** Waits for the next attempt: as the server asked, and longer after each failure. */
  async #pause({ reason, retryAfterMs, jitterMs }) {
    const told = reason !== 0 && this.#failures === 0; // the server's own advice spreads its clients
    const limit = Math.min(MAX_BACKOFF_MS, 1000 * 2 ** this.#failures++);
    const ms = Math.round(retryAfterMs + this.#random() * jitterMs + (told ? 0 : limit * (0.5 + this.#random() / 2)));
    this.#enter('waiting', { retryInMs: ms });
    await new Promise((resolve) => {
      const timer = this.#clock.setTimeout(resolve, ms);
      this.#wake = () => {
        this.#clock.clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  /** The network is back, or somebody looks at the page: no time to lose. */
  #nudge() {
    if (this.#wake) this.#wake();
    else this.#link?.probe();
  }

  /** The server ended the session for good. A token that it does not accept is worth nothing. */
  #finish(ending) {
    const { error, reason } = ending;
    const worthless = [CloseReason.KICKED, CloseReason.SIGNED_OUT].includes(reason) || error?.code === Code.UNAUTHENTICATED;
    if (worthless) this.#token = '';
    this.#link?.quit();
    this.#save();
    const why = error ?? new Refusal({ code: Code.UNAUTHENTICATED, message: ending.message });
    this.#leave('ended', { ending, error }, why);
  }

  /** Ends a life; `error` is for who waits in connect(). */
  #leave(state, detail, error) {
    const waiting = this.#firstOnline;
    this.#life = this.#link = this.#firstOnline = null;
    this.#clock.clearTimeout(this.#gapTimer);
    this.#wake?.();
    waiting?.reject(error);
    if (this.#state !== state) this.#enter(state, detail);
  }

  #enter(state, { ending = null, error = null, retryInMs = 0 } = {}) {
    this.#state = state;
    this.#emit('state', { state, ending, error, retryInMs });
  }

  // -------------------------------------------------------------- the inbox

  #takePush({ action, body }) {
    if (action === Action.MESSAGE) this.#takeEntries(this.#inbox.push({ inbox_seq: 0, ...body, message: whole(body.message) }));
    else if (action === Action.MESSAGE_ACK) this.#takeReceipt(body);
    else if (action === Action.READ) this.#takeRead({ conversation_id: '', user_id: 0, seq: 0, ...body });
    else if (action === Action.PRESENCE) this.#emit('presence', { states: (body.states ?? []).map(wholePresence) });
    else if (action === Action.TYPING) this.#emit('typing', { conversation_id: '', user_id: 0, stopped: false, ...body });
    else if (action === Action.HELD) this.#takeHeld(body);
    else if (action === Action.SYNC) this.#sync();
    else if (action === Action.NOTICE) this.#emit('notice', { event: '', text: '', data: '', time_ms: 0, ...body });
    else if (ROOM_PUSHES.has(action)) this.#takeRoomPush(action, body);
    else if (action !== Action.QUIT) this.#emit('push', { action, body });
    if (this.#inbox.gap) this.#mendSoon();
    this.#settle();
  }

  /** An answer and a push may overtake each other: most gaps close by themselves. */
  #mendSoon() {
    this.#clock.clearTimeout(this.#gapTimer);
    this.#gapTimer = this.#clock.setTimeout(() => this.#inbox.gap && this.#sync(), GAP_MS);
  }

  /** Reads the inbox to its end; asked again meanwhile, it does so once more. */
  async #sync() {
    const link = this.#link;
    this.#syncAgain = true;
    if (this.#syncing || !link) return;
    this.#syncing = true;
    while (this.#syncAgain && this.#link === link) {
      this.#syncAgain = false;
      try {
        if (await this.#syncPage(link)) this.#syncAgain = true;
      } catch (error) {
        await this.#afterFault(error);
        this.#syncAgain ||= error instanceof Unanswered || error.temporary;
      }
    }
    if (this.#link !== link) return;
    this.#syncing = false;
    this.#emit('synced', { cursor: this.#inbox.cursor });
  }

  /** Reads one page; gives whether there is another. */
  async #syncPage(link) {
    const { cursor, epoch, receiptsHead } = this.#inbox;
    const body = { after_seq: cursor, limit: 200, epoch, receipts_after: receiptsHead };
    const asked = this.#inbox.ask();
    const reply = await link.request(Action.SYNC, body);
    if (this.#link !== link) return false;
    const entries = (reply.entries ?? []).map((entry) => ({ ...entry, message: whole(entry.message) }));
    if (reply.restarted) {
      const reason = reply.epoch === epoch ? 'trimmed' : 'epoch';
      this.#restart(reason, reply.epoch, (entries[0]?.inbox_seq ?? (reply.head ?? 0) + 1) - 1);
    }
    this.#takeEntries(this.#inbox.page(entries, { asked, last: !reply.has_more }));
    if (this.#inbox.gap && !reply.has_more) this.#mendSoon();
    for (const receipt of reply.receipts ?? []) this.#takeReceipt(receipt);
    for (const read of reply.reads ?? []) this.#takeRead(read);
    const told = this.#inbox.receiptsHead;
    if (reply.receipts_head) this.#inbox.receiptsHead = reply.receipts_head;
    this.#dirty = true;
    this.#settle();
    if (reply.has_more) return entries.length > 0;
    return Boolean(reply.more_receipts) && this.#inbox.receiptsHead !== told;
  }

  /** After an error on a live link: waits as told, or says what nobody else will. */
  async #afterFault(error) {
    if (error instanceof Unanswered) return;
    if (!error.temporary) return this.#emit('fault', error);
    await new Promise((resolve) => this.#clock.setTimeout(resolve, error.retryAfterMs || 1000));
  }

  /** The inbox is another one, or its beginning is lost. */
  #restart(reason, epoch, cursor = 0) {
    const first = this.#inbox.epoch === '' && this.#inbox.cursor === 0;
    this.#inbox.restart(epoch, cursor);
    this.#delivered.clear();
    this.#undelivered.clear();
    this.#acks.clear();
    if (reason === 'user') for (const room of this.#rooms.values()) this.#forgetRoom(room, new Unanswered('somebody else signed in'));
    for (const room of this.#rooms.values()) if (reason === 'epoch') room.settled = new Settled();
    if (!first) this.#emit('reset', { reason });
  }

  #takeEntries(entries) {
    for (const { inbox_seq: inboxSeq, message } of entries) {
      this.#dirty = true;
      const own = message.sender_id === this.#me.user_id;
      const outgoing = own ? this.#outbox.get(message.client_id) ?? this.#held.get(message.client_id) ?? this.#known(message) : undefined;
      if (outgoing?.state === 'queued' || outgoing?.state === 'held') {
        this.#commit(outgoing, message, !outgoing.content.forward && !message.became?.recalled && outgoing.text !== message.text);
      }
      if (!own) this.#acks.set(message.conversation_id, message.seq);
      this.#emit('message', { message, inboxSeq, own, outgoing });
    }
  }

  /** The Outgoing of a message that was committed a moment ago. */
  #known(message) {
    return this.#undelivered.get(message.conversation_id)?.find((out) => out.clientId === message.client_id);
  }

  #takeReceipt({ conversation_id, user_id, seq = 0 }) {
    if (user_id === this.#me.user_id || seq <= this.deliveredSeq(conversation_id)) return;
    this.#delivered.set(conversation_id, seq);
    this.#emit('receipt', { conversation_id, user_id, seq });
    this.#deliverUpTo(conversation_id);
  }

  /** Whoever has read it has received it too, whether he said so or not. */
  #takeRead(read) {
    this.#takeReceipt(read);
    this.#emit('read', read);
  }

  #deliverUpTo(conversationId) {
    const waiting = this.#undelivered.get(conversationId) ?? [];
    const seq = this.deliveredSeq(conversationId);
    this.#undelivered.set(conversationId, waiting.filter((out) => out.message.seq > seq));
    for (const out of waiting.filter((o) => o.message.seq <= seq)) {
      deliver(out);
      this.#emit('outgoing', out);
    }
  }

  /** Acknowledges what the listeners have had and the storage holds. */
  #acknowledge() {
    for (const [conversation, seq] of this.#acks) {
      if (!this.#link || this.#acking.size >= MAX_IN_FLIGHT) return;
      if (!this.#acking.has(conversation)) this.#ack(this.#link, conversation, seq);
    }
  }

  async #ack(link, conversation, seq) {
    this.#acking.add(conversation);
    let done = true;
    try {
      await link.request(Action.MESSAGE_ACK, { conversation_id: conversation, seq });
    } catch (error) {
      done = !(error instanceof Unanswered || error.temporary);
      await this.#afterFault(error);
    }
    if (this.#link !== link) return;
    this.#acking.delete(conversation);
    if (done && this.#acks.get(conversation) === seq) this.#acks.delete(conversation);
    this.#dirty = true;
    this.#acknowledge();
  }

  // -------------------------------------------------------------- the outbox

  /** Sends what is queued, one message of a conversation at a time. */
  #flush() {
    for (const out of this.#outbox.values()) {
      if (!this.#link || this.#sending.size >= MAX_IN_FLIGHT) return;
      if (!this.#sending.has(this.#conversationOf(out))) this.#transmit(this.#link, out);
    }
  }

  #conversationOf({ to }) {
    return typeof to === 'number' ? chatId(to, this.#me.user_id) : to;
  }

  async #transmit(link, out) {
    const conversation = this.#conversationOf(out);
    this.#sending.set(conversation, out);
    out.attempts++;
    try {
      const reply = await link.request(Action.MESSAGE, sendRequest(out));
      if (this.#link === link) this.#takeSent(out, reply);
    } catch (error) {
      if (this.#link === link) await this.#takeUnsent(out, error);
    }
    if (this.#link !== link) return;
    this.#sending.delete(conversation);
    this.#settle();
    this.#flush();
  }

  #takeSent(out, reply) {
    if (reply.held_id) {
      if (out.state === 'queued') this.#hold(out); // else the inbox, or word of the decision, was faster
      return;
    }
    const { forward, ...content } = out.content;
    const message = whole({
      ...content, id: reply.message_id, conversation_id: reply.conversation_id, seq: reply.seq, sender_id: this.#me.user_id,
      client_id: out.clientId, time_ms: reply.time_ms, expires_ms: reply.expires_ms ?? 0, text: reply.rewritten ? reply.text ?? '' : out.text,
    });
    if (out.state === 'queued') this.#commit(out, message, Boolean(reply.rewritten));
    if (forward) return void this.#sync(); // what it is a copy of is not here
    if (!reply.inbox_seq) return void this.#sync(); // of a large group: it comes into the inbox when that is asked for
    this.#takeEntries(this.#inbox.push({ inbox_seq: reply.inbox_seq, message }));
    if (this.#inbox.gap) this.#mendSoon();
  }

  #hold(out) {
    this.#outbox.delete(out.clientId);
    this.#dirty = true;
    hold(out);
    if (this.#held.size >= MAX_WATCHED) this.#held.delete(this.#held.keys().next().value);
    this.#held.set(out.clientId, out);
    this.#emit('outgoing', out);
  }

  /** One of this person's messages waits, or does not any more. What was approved comes by the inbox. */
  #takeHeld(body) {
    const held = wholeHeld(body);
    const out = this.#held.get(held.client_id) ?? this.#outbox.get(held.client_id); // it may be faster than the answer
    if (held.state === HeldState.DENIED && out) this.#refuse(out, new Refusal({ code: Code.REJECTED, message: held.reason }));
    this.#emit('held', held);
  }

  /** What was denied while there was no connection. */
  async #askHeld(link) {
    let afterHeldId = '';
    do {
      const page = await this.held({ afterHeldId, limit: 100 }).catch(() => null); // the next connection asks again
      if (!page || this.#link !== link) return;
      for (const held of page.held) if (held.state === HeldState.DENIED && this.#held.has(held.client_id)) this.#takeHeld(held);
      afterHeldId = page.has_more ? page.held.at(-1).held_id : '';
    } while (afterHeldId);
  }

  #commit(out, message, rewritten) {
    this.#outbox.delete(out.clientId);
    this.#held.delete(out.clientId);
    this.#dirty = true;
    commit(out, message, rewritten);
    const waiting = this.#undelivered.get(message.conversation_id) ?? [];
    this.#undelivered.set(message.conversation_id, [...waiting.slice(-MAX_WATCHED), out]);
    this.#emit('outgoing', out);
    this.#deliverUpTo(message.conversation_id);
  }

  /** A send failed: it stays queued, unless the server's no is final. */
  async #takeUnsent(out, error) {
    if (error instanceof Unanswered) return; // sent again by the flush that follows
    if (error.code === Code.UNAUTHENTICATED) return this.#finish({ reason: 0, message: error.message, error });
    if (error.code === Code.INTERNAL) out.faults++;
    if (error.temporary && out.faults < MAX_FAULTS) return this.#afterFault(error);
    this.#refuse(out, error);
  }

  #refuse(out, error) {
    if (out.state !== 'queued' && out.state !== 'held') return;
    this.#outbox.delete(out.clientId);
    this.#held.delete(out.clientId);
    this.#dirty = true;
    refuse(out, error);
    this.#emit('outgoing', out);
  }

  // --------------------------------------------------------------- the storage

  /** Reads what an earlier page kept. */
  #restore(device) {
    const kept = this.#storage.load() ?? {};
    const { token = '', me = null, inbox = {}, outbox = [], acks = [] } = kept;
    this.#device = { type: DeviceType.WEB, name: 'Browser', ...device, id: device.id ?? kept.deviceId ?? randomId() };
    this.#token = token;
    this.#me = me;
    this.#inbox = new Inbox(inbox);
    this.#acks = new Map(acks);
    for (const { clientId, to, text, content } of outbox) this.#outbox.set(clientId, new Outgoing({ clientId, to, text, content }));
  }

  #save() {
    this.#dirty = false;
    const { cursor, epoch, receiptsHead } = this.#inbox;
    const outbox = this.queued.map(({ clientId, to, text, content }) => ({ clientId, to, text, content }));
    const inbox = { cursor, epoch, receiptsHead };
    const state = { deviceId: this.#device.id, token: this.#token, me: this.#me, inbox, outbox, acks: [...this.#acks] };
    try {
      this.#storage.save(state);
    } catch (error) {
      this.#emit('fault', error);
    }
  }

  /** After a batch was handled: first keeps it, then acknowledges it. */
  #settle() {
    if (this.#dirty) this.#save();
    this.#acknowledge();
  }

  /** Forgets a person: the inbox, and what was not sent. */
  #forget() {
    for (const out of [...this.queued, ...this.#held.values()]) this.#refuse(out, new Refusal({ code: Code.UNAUTHENTICATED, message: 'signed out' }));
    this.#restart('user', '');
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The body of a send: the same, octet for octet, each time. */
function sendRequest({ clientId, to, text, content }) {
  const whom = typeof to === 'number' ? { to_user_id: to } : { conversation_id: to };
  return { client_id: clientId, ...whom, kind: 0, text, ...content };
}

/** How requests name a message that is there. */
const nameOfMessage = ({ conversation_id, seq, id }) => ({ conversation_id, seq, message_id: id });
