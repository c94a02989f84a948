// Types of freeim.js. Bodies carry the field names of idl/*.proto; a field that
// JSON left out (0, "" or false) may be missing unless it is listed as present.

export declare const PROTOCOL: 2;
export declare const HEADER_SIZE: 13;

export declare const Codec: Readonly<{ JSON: 0; PROTOBUF: 1 }>;
export declare const Action: Readonly<{
  GET_MESSAGE_ID: 0; SIGN_IN: 1; SYNC: 2; MESSAGE: 3; MESSAGE_ACK: 4; NOTICE: 5; AUTH: 10; QUIT: 11; SIGN_UP: 12;
  SIGN_OUT: 13; LIST_DEVICES: 14; FIND_USER: 15; HISTORY: 30; HELD: 31;
  JOIN_ROOM: 70; LEAVE_ROOM: 71; ROOM_MESSAGE: 72; ROOM_HISTORY: 73; ROOM_INFO: 74; ROOM_MEMBERS: 75;
  CREATE_ROOM: 76; UPDATE_ROOM: 77; MODERATE_ROOM: 78; CLOSE_ROOM: 79; ROOM_ROLES: 80; HEARTBEAT: 100; ERROR: 255;
}>;
export declare const Code: Readonly<{
  UNKNOWN: 0; INTERNAL: 1; UNAVAILABLE: 2; UNAUTHENTICATED: 3; PERMISSION_DENIED: 4; INVALID_ARGUMENT: 5;
  NOT_FOUND: 6; ALREADY_EXISTS: 7; CONFLICT: 8; RATE_LIMITED: 9; UNKNOWN_ACTION: 10; TOO_LARGE: 11;
  DEADLINE_EXCEEDED: 12; REJECTED: 13; BAD_CREDENTIALS: 14; MALFORMED_BODY: 15; LIMIT_EXCEEDED: 16;
}>;
export declare const CloseReason: Readonly<{
  UNKNOWN: 0; SHUTDOWN: 4000; SLOW: 4001; IDLE: 4002; OVERLOADED: 4003; AUTH_TIMEOUT: 4004; REPLACED: 4500;
  KICKED: 4501; SIGNED_OUT: 4502; BYE: 4503; REMOVED: 4504; MALFORMED: 4510; TOO_LARGE: 4511; UNSUPPORTED_VERSION: 4512; FLOOD: 4513;
}>;
export declare const DeviceType: Readonly<{ UNKNOWN: 0; MOBILE: 1; DESKTOP: 2; WEB: 3; TABLET: 4 }>;
export declare const SignOutScope: Readonly<{ THIS: 0; DEVICE: 1; OTHERS: 2; ALL: 3 }>;

export declare const RoomKind: Readonly<{ TEXT: 0; GIFT: 1; ANNOUNCEMENT: 2; MODERATION: 3 }>;
export declare const RoomLeftReason: Readonly<{ UNKNOWN: 0; REMOVED: 1; BANNED: 2; CLOSED: 3; SLOW: 4 }>;
export declare const RoomSkipReason: Readonly<{ UNKNOWN: 0; SAMPLED: 1; SLOW: 2; LOST: 3 }>;

/** The name of a number in one of the tables above; "#13" for one that is not in it. */
export declare function nameOf(table: Readonly<Record<string, number>>, number: number): string;

// ------------------------------------------------------------------- frames

export interface Frame<Body> {
  codec: number;
  action: number;
  /** The client's choice, echoed in the answer; 0 in pushes. */
  sequence: number;
  body: Body;
}

export declare class FrameError extends Error {
  /** One of CloseReason. */
  readonly reason: number;
}

export declare function encodeFrame(frame: Partial<Frame<Uint8Array>> & { action: number }): Uint8Array;
/** Throws a FrameError unless `data` is whole frames. */
export declare function decodeFrames(data: Uint8Array | ArrayBuffer, maxBody?: number): Frame<Uint8Array>[];
export declare function encodeText(frame: { action: number | string; sequence?: number; body?: object }): string;
/** Throws a FrameError. */
export declare function decodeText(text: string): Omit<Frame<Body>, 'action'> & { action: number | string };
export declare function encodeBody(body: object): Uint8Array;
/** Throws a FrameError. */
export declare function decodeBody(bytes: Uint8Array): Body;

/** Throws a RangeError for anything that is no message ID. */
export declare function decodeMessageId(id: string): { timeMs: number; spin: number; type: number; hash: number };
export declare const HeldState: Readonly<{ WAITING: 0; APPROVED: 1; DENIED: 2 }>;
export declare function chatId(a: number, b: number): string;
export declare function randomId(): string;

// ------------------------------------------------------------------- bodies

export type Body = Record<string, unknown>;

/** All fields are present. */
export interface Message {
  id: string;
  conversation_id: string;
  seq: number;
  sender_id: number;
  client_id: string;
  time_ms: number;
  kind: number;
  text: string;
}

export interface User {
  user_id: number;
  account: string;
  nickname: string;
}

export interface Device {
  id: string;
  type?: number;
  name?: string;
}

export interface DeviceInfo {
  device: Device;
  signed_in_ms?: number;
  last_seen_ms?: number;
  online?: boolean;
  this_device?: boolean;
}

export interface History {
  messages: Message[];
  has_more: boolean;
  floor: number;
  conversation_id: string;
}

/** What was done to whom. */
export interface Moderation {
  verb: number;
  user_id?: number;
  until_ms?: number;
  role?: number;
  reason?: string;
}

/** All fields are present. */
export interface RoomMessage {
  room: string;
  /** 0: it is in no log, show it where it comes. */
  seq: number;
  id: string;
  sender_id: number;
  nickname: string;
  client_id: string;
  time_ms: number;
  /** One of RoomKind. */
  kind: number;
  text: string;
  data: string;
  moderation: Moderation | null;
}

/** What the server tells a person beside messages. It is not kept. */
export interface Notice {
  /** What it is about. */
  event: string;
  /** For people; may be empty. */
  text: string;
  /** A JSON object or array, for programs; may be empty. */
  data: string;
  time_ms: number;
}

export interface RoomInfo {
  room: string;
  title?: string;
  announcement?: string;
  owner_id?: number;
  members?: number;
  head?: number;
  slow_mode_ms?: number;
  muted?: boolean;
  closed?: boolean;
  presence?: boolean;
}

export interface RoomJoined {
  info: RoomInfo;
  messages: RoomMessage[];
  head: number;
  has_more: boolean;
  role: number;
  muted_until_ms: number;
}

export interface RoomSent {
  message_id: string;
  seq: number;
  time_ms: number;
  duplicate: boolean;
  rewritten: boolean;
  text?: string;
  /** Where it is, when a rule sent it to another room. */
  room?: string;
}

/** A message of this person's that waits for a decision. */
export interface Held {
  held_id: string;
  client_id: string;
  conversation_id: string;
  /** One of HeldState. */
  state: number;
  time_ms: number;
  kind: number;
  text: string;
  /** Of a denial. */
  reason: string;
  /** Once approved. */
  message_id: string;
  seq: number;
}

export interface Receipt {
  conversation_id: string;
  user_id: number;
  seq: number;
}

// ------------------------------------------------------------------- errors

/** The server's answer "no" to a request. */
export declare class Refusal extends Error {
  constructor(error: { code?: number; message?: string; field?: string; retry_after_ms?: number });
  /** One of Code. */
  readonly code: number;
  readonly codeName: string;
  readonly field: string;
  /** 0: no advice. */
  readonly retryAfterMs: number;
  /** Whether the same request may well succeed later. */
  readonly temporary: boolean;
}

/** How a connection ended. */
export interface Ending {
  /** One of CloseReason; 0 when the connection was lost. */
  reason: number;
  message: string;
  reconnect: boolean;
  retryAfterMs: number;
  jitterMs: number;
}

/** No answer came; the action may or may not have happened. */
export declare class Unanswered extends Error {
  readonly ending: Ending | null;
}

// ------------------------------------------------------------------ storage

/** Where a session is kept: one JSON-able object, read once, written often. */
export interface SessionStorage {
  load(): object | null;
  save(state: object): void;
}

export declare function webStorage(key: string, area?: Pick<Storage, 'getItem' | 'setItem'>): SessionStorage;
export declare function memoryStorage(state?: object | null): SessionStorage;

// ------------------------------------------------------------------- client

export type OutgoingState = 'queued' | 'held' | 'committed' | 'delivered' | 'refused';

/** A message on its way out. */
export declare class Outgoing {
  private constructor();
  readonly clientId: string;
  readonly to: number | string;
  /** As it was given to send; `message.text` is what was committed. */
  readonly text: string;
  readonly attempts: number;
  readonly state: OutgoingState;
  readonly message: Message | null;
  readonly error: Refusal | null;
  readonly rewritten: boolean;
  readonly committed: Promise<Message>;
  readonly delivered: Promise<Message>;
}

export type ClientState = 'offline' | 'connecting' | 'online' | 'waiting' | 'ended';

export interface ClientEvents {
  state: CustomEvent<{ state: ClientState; ending: Ending | null; error: Error | null; retryInMs: number }>;
  message: CustomEvent<{ message: Message; inboxSeq: number; own: boolean; outgoing: Outgoing | undefined }>;
  outgoing: CustomEvent<Outgoing>;
  held: CustomEvent<Held>;
  receipt: CustomEvent<Receipt>;
  synced: CustomEvent<{ cursor: number }>;
  reset: CustomEvent<{ reason: 'epoch' | 'trimmed' | 'user' }>;
  roommessage: CustomEvent<{ message: RoomMessage; own: boolean }>;
  roomskip: CustomEvent<{ room: string; ranges: [number, number][]; reason: number }>;
  roomleft: CustomEvent<{ room: string; reason: number; until_ms: number; message: string; error: Refusal | null }>;
  roominfo: CustomEvent<RoomInfo>;
  roompresence: CustomEvent<{ room: string; came: number[]; went: number[] }>;
  notice: CustomEvent<Notice>;
  push: CustomEvent<{ action: number; body: Body }>;
  frame: CustomEvent<{ direction: 'in' | 'out'; action: number; sequence: number; body: Body }>;
  fault: CustomEvent<Error>;
}

export interface ClientOptions {
  /** Default: /ws on the page's host. */
  url?: string;
  /** Default: "binary". */
  mode?: 'binary' | 'text';
  /** Default: a random ID that the storage keeps, DeviceType.WEB, "Browser". */
  device?: Partial<Device>;
  /** Default: memoryStorage(). */
  storage?: SessionStorage;
  /** How long a request waits for its answer; default 10,000. */
  timeoutMs?: number;
  /** Messages that may wait for their commit; default 1,000. */
  maxQueued?: number;
  WebSocket?: new (url: string) => unknown;
  clock?: { now(): number; setTimeout(callback: () => void, ms: number): unknown; clearTimeout(timer: unknown): void };
  random?: () => number;
}

/** One device of one person. */
export declare class Client extends EventTarget {
  constructor(options?: ClientOptions);
  readonly state: ClientState;
  readonly user: User | null;
  readonly device: Required<Device>;
  readonly signedIn: boolean;
  readonly cursor: number;
  readonly queued: Outgoing[];

  signUp(account: { account: string; password: string; nickname?: string }): Promise<number>;
  signIn(account: { account: string; password: string }): Promise<User>;
  connect(token?: string): Promise<User>;
  close(): void;
  signOut(what?: { scope?: number; deviceId?: string }): Promise<string[]>;
  retry(): void;

  /** Throws a RangeError when too many messages are queued, a Refusal when nobody is signed in. */
  send(to: number | string, text: string, options?: { clientId?: string }): Outgoing;
  findUser(who: { account: string } | { user_id: number }): Promise<User>;
  held(range?: { afterHeldId?: string; limit?: number }): Promise<{ held: Held[]; has_more: boolean }>;
  history(conversation: number | string, range?: { beforeSeq?: number; afterSeq?: number; limit?: number }): Promise<History>;
  devices(): Promise<DeviceInfo[]>;
  deliveredSeq(conversationId: string): number;
  readonly rooms: string[];
  joinRoom(room: string, options?: { afterSeq?: number; last?: number }): Promise<RoomJoined>;
  leaveRoom(room: string): Promise<boolean>;
  sendRoom(room: string, text: string, options?: { kind?: number; data?: string; clientId?: string }): Promise<RoomSent>;
  roomHistory(room: string, range?: { beforeSeq?: number; afterSeq?: number; limit?: number }): Promise<{ messages: RoomMessage[]; has_more: boolean; floor: number }>;
  roomInfo(room: string): Promise<RoomInfo>;
  request(action: number, body?: object): Promise<Body>;
  /** An action that the operator's scripts define: by number, or in mode 'text' by name. */
  action(action: number | string, body?: object): Promise<Body>;

  addEventListener<Type extends keyof ClientEvents>(
    type: Type, listener: (event: ClientEvents[Type]) => void, options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof ClientEvents>(
    type: Type, listener: (event: ClientEvents[Type]) => void, options?: boolean | EventListenerOptions,
  ): void;
}
