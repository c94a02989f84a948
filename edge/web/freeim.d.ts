// Types of freeim.js. Bodies carry the field names of idl/*.proto; a field that
// JSON left out (0, "" or false) may be missing unless it is listed as present.

export declare const PROTOCOL: 2;
export declare const HEADER_SIZE: 13;

export declare const Codec: Readonly<{ JSON: 0; PROTOBUF: 1 }>;
export declare const Action: Readonly<{
  GET_MESSAGE_ID: 0; SIGN_IN: 1; SYNC: 2; MESSAGE: 3; MESSAGE_ACK: 4; NOTICE: 5; AUTH: 10; QUIT: 11; SIGN_UP: 12;
  SIGN_OUT: 13; LIST_DEVICES: 14; FIND_USER: 15; PROFILE: 16; UPDATE_PROFILE: 17; SEARCH_USERS: 18; CHANGE_PASSWORD: 19; SET_PUSH_TOKEN: 20; DELETE_ACCOUNT: 21; EXPORT: 22; SIGN_IN_EXTERNAL: 23;
  HISTORY: 30; HELD: 31; READ: 32; TYPING: 35; RECALL: 36; EDIT: 37; CHAT_SETTINGS: 38; VERSIONS: 39; REACT: 40; REACTIONS: 41; SEARCH_MESSAGES: 42; SCHEDULE: 43; LIST_SCHEDULED: 44; RESCHEDULE: 45; UNSCHEDULE: 46; READERS: 48; LIFETIME: 49;
  CREATE_GROUP: 50; GROUP_INFO: 51; LIST_GROUPS: 52; GROUP_MEMBERS: 53; UPDATE_GROUP: 54; DISSOLVE_GROUP: 55;
  INVITE_TO_GROUP: 56; ANSWER_INVITATION: 57; JOIN_GROUP: 58; DECIDE_APPLICATION: 59; GROUP_REQUESTS: 60;
  LEAVE_GROUP: 61; REMOVE_FROM_GROUP: 62; TRANSFER_GROUP: 63; SET_GROUP_ROLE: 64; MUTE_IN_GROUP: 65;
  BAN_FROM_GROUP: 66; GROUP_BANS: 67; WITHDRAW_REQUEST: 68; SET_GROUP_SELF: 69;
  JOIN_ROOM: 70; LEAVE_ROOM: 71; ROOM_MESSAGE: 72; ROOM_HISTORY: 73; ROOM_INFO: 74; ROOM_MEMBERS: 75;
  LIST_CONVERSATIONS: 33; UPDATE_CONVERSATION: 34;
  CREATE_ROOM: 76; UPDATE_ROOM: 77; MODERATE_ROOM: 78; CLOSE_ROOM: 79; ROOM_ROLES: 80; HEARTBEAT: 100; ERROR: 255;
  APPLY: 90; ACCEPT: 91; REFUSE: 92; WITHDRAW: 93; APPLICATIONS: 94;
  FRIENDS: 95; DELETE_FRIEND: 96; SET_ALIAS: 97; SUGGESTIONS: 98; PRESENCE: 99;
  BLOCK: 101; UNBLOCK: 102; BLOCKS: 103; FRIEND_GROUPS: 104; CREATE_FRIEND_GROUP: 105;
  RENAME_FRIEND_GROUP: 106; DELETE_FRIEND_GROUP: 107; ORDER_FRIEND_GROUPS: 108; MOVE_FRIENDS: 109; SOCIAL_SETTINGS: 110;
  UPDATE_SOCIAL_SETTINGS: 111; RELATION: 112;
  PUBLISH_MOMENT: 120; DELETE_MOMENT: 121; SET_MOMENT_VISIBILITY: 122; GET_MOMENT: 123; MOMENT_FEED: 124; LIST_MOMENTS: 125; MOMENT_SQUARE: 126;
  LIKE_MOMENT: 127; UNLIKE_MOMENT: 128; COMMENT_MOMENT: 129; DELETE_COMMENT: 130; MOMENT_LIKES: 131; MOMENT_COMMENTS: 132;
  UPLOAD_FILE: 140; COMMIT_FILE: 141; FILE_URL: 142; LIST_FILES: 143; DELETE_FILE: 144;
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
export declare const MessageKind: Readonly<{ TEXT: 0; IMAGE: 1; PLACE: 2; VIDEO: 3; VOICE: 4; FILE: 5; COMMAND: 6; CUSTOM: 7; EVENT: 8 }>;
export declare const Mute: Readonly<{ NORMAL: 0; SILENT: 1; NONE: 2 }>;
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
  /** One of MessageKind. */
  kind: number;
  text: string;
  /** Of an EVENT: what happened, as "social.accepted". */
  event: string;
  /** Of an EVENT: a JSON object for programs, or empty. */
  data: string;
  media: Media | null;
  place: { name?: string; address?: string; latitude?: number; longitude?: number } | null;
  payload: { name: string; data?: string } | null;
  reply_to: Reply | null;
  /** Of one that was forwarded. */
  origin: { sender_id: number; time_ms: number } | null;
  mentions: number[];
  mentions_all: boolean;
  /** Of this message or, with about, of that one. */
  became: Became | null;
  /** Of an EVENT: the message of which something became. */
  about: { seq: number; message_id: string } | null;
  /** When it disappears; 0: it stays. */
  expires_ms: number;
}

export interface Media {
  /** "file:ID", or an https URL. */
  file: string;
  cover?: string; name?: string; type?: string; size?: number; width?: number; height?: number; duration_ms?: number;
}
export interface Reply { seq: number; message_id: string; sender_id?: number; kind?: number }
/** What became of a message, as it is when it is read. */
/** A message that is to be sent later; state 1: it could not be, reason says why; 2, in an answer to schedule: it is sent, and has no id. */
export interface Scheduled {
  id: string;
  message: Record<string, unknown>;
  at_ms: number;
  version: number;
  state?: number;
  reason?: string;
}

export interface Became {
  /** Of two the greater one holds. */
  revision: number;
  recalled?: boolean; recalled_by?: number; recalled_ms?: number;
  /** With recalled: nobody took it back, its time was over. */
  expired?: boolean;
  version: number;
  edited_ms?: number;
  /** In an answer, of an edited one. */
  text?: string;
  /** Not said in an EVENT. */
  reactions?: { reaction: string; count: number; mine?: boolean }[];
}
/** What a message is beside its text, as the fields of SendRequest. */
export interface Content {
  /** One of MessageKind. */
  kind?: number;
  media?: Media; place?: NonNullable<Message['place']>; payload?: { name: string; data?: string };
  reply_to?: Reply; mentions?: number[]; mentions_all?: boolean; forward?: { conversation_id: string; seq: number; message_id: string };
}
export declare function replyTo(message: Message): Reply;
export declare function sourceOf(message: Message): NonNullable<Content['forward']>;
/** Changes a message that an application keeps; false: that is nothing new. */
export declare function applyBecame(message: Partial<Message>, became: Became | null | undefined): boolean;
/** Changes a message that an application keeps to one that has disappeared, if its time is over. */
export declare function expire(message: Partial<Message>, now?: number): boolean;

/** One as this person has it. */
export interface Conversation {
  conversation_id: string;
  last: Message | null;
  unread: number;
  /** Of the unread ones, those that name this person, or everybody. */
  mentions: number;
  read_seq: number;
  last_seq: number;
  /** What came up to it is deleted for this person. */
  floor: number;
  pinned: boolean;
  /** One of Mute. */
  mute: number;
  draft: string;
  hidden: boolean;
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

/** What people say of themselves; absent fields are empty. The last line is of one's own only. */
export interface Profile {
  user_id: number;
  handle?: string; nickname: string; avatar?: string; gender?: number; signature?: string; city?: string; account?: string;
  birthday?: string; language?: string; found_by_handle?: boolean; found_by_account?: boolean; found_by_nickname?: boolean; created_ms?: number; handle_change_ms?: number;
}

/** The fields to change. */
export type ProfileChange = Partial<Omit<Profile, 'user_id' | 'account' | 'created_ms' | 'handle_change_ms'>>;

/** Who sees a moment beside its author: 0 friends, 1 everybody, 2 nobody, 3 friends in user_ids, 4 friends who are not. */
export type MomentVisibility = 0 | 1 | 2 | 3 | 4;

/** Absent fields are empty. The last two lines are of one's own only; review: 1 waits for a reviewer, 2 refused. */
export interface Moment {
  id: string; author_id: number; time_ms: number; text?: string; images?: string[];
  video?: { url: string; cover?: string; duration_ms?: number };
  place?: { name: string; latitude?: number; longitude?: number };
  likes?: number; comments?: number; liked?: boolean;
  visibility?: MomentVisibility; user_ids?: number[];
  review?: 1 | 2; review_reason?: string; client_id?: string;
}

export interface MomentComment {
  id: string; moment_id: string; author_id: number; time_ms: number; text: string; reply_to?: string; reply_to_user_id?: number;
}

export interface PageRange { cursor?: string; limit?: number }

export interface MomentPage { moments: Moment[]; cursor: string; has_more: boolean }

/** One that was uploaded; `used`, of one's own in lists: something refers to it. */
export interface UploadedFile { id: string; name: string; size: number; type: string; sha256: string; time_ms: number; used?: boolean }

/** What a server, or the network, said to an upload. `again`: it may be tried again. */
export declare class UploadError extends Error {
  readonly status: number;
  readonly again: boolean;
  readonly retryAfterMs: number;
}

export interface DeviceInfo {
  device: Device;
  signed_in_ms?: number;
  last_seen_ms?: number;
  online?: boolean;
  this_device?: boolean;
  address?: string;
  push?: boolean;
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

/** A group; its fields are told in idl/group.proto, and what is 0, false or empty is left out. */
export interface GroupInfo {
  group_id: number;
  conversation_id: string;
  name: string;
  avatar?: string;
  description?: string;
  announcement?: string;
  owner_id: number;
  members: number;
  max_members: number;
  policy?: number;
  question?: string;
  answer?: string;
  history?: number;
  history_last?: number;
  slow_mode_ms?: number;
  muted_until_ms?: number;
  member_permissions?: number;
  created_ms: number;
  version?: number;
  /** The caller, if he is a member. */
  me?: GroupMember;
}

export interface GroupMember {
  user_id: number;
  /** 1 owner, 2 admin, 3 member. */
  role: number;
  permissions?: number;
  alias?: string;
  muted_until_ms?: number;
  joined_ms?: number;
  invited_by?: number;
  notify?: number;
  first_seq?: number;
  nickname?: string;
  handle?: string;
  avatar?: string;
}

export interface GroupChange {
  name?: string;
  avatar?: string;
  description?: string;
  announcement?: string;
  policy?: number;
  question?: string;
  answer?: string;
  history?: number;
  history_last?: number;
  slow_mode_ms?: number;
  member_permissions?: number;
}

export interface GroupRequest {
  group_id: number;
  user_id: number;
  invited_by?: number;
  remark?: string;
  time_ms: number;
  expires_ms: number;
  group_name?: string;
  nickname?: string;
}

export interface GroupBan {
  user_id: number;
  until_ms: number;
  by_user_id: number;
  reason?: string;
  time_ms: number;
}

export interface Invited {
  user_id: number;
  /** 1 joined, 2 invited, 3 was a member, 4 nobody, 5 refused. */
  outcome: number;
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
  readonly content: Content;
  readonly attempts: number;
  readonly state: OutgoingState;
  readonly message: Message | null;
  readonly error: Refusal | null;
  readonly rewritten: boolean;
  readonly committed: Promise<Message>;
  readonly delivered: Promise<Message>;
}

export type ClientState = 'offline' | 'connecting' | 'online' | 'waiting' | 'ended';

export interface Person { user_id: number; handle?: string; nickname?: string; avatar?: string }
export interface Friend { person: Person; alias?: string; group_id?: number; since_ms?: number; removed?: boolean }
export interface FriendGroup { group_id: number; name: string }
export interface FriendApplication {
  person: Person; outgoing?: boolean; state?: number; remark?: string; question?: string; answer?: string;
  made_ms: number; ended_ms?: number; expires_ms?: number;
}
export interface PresenceState { user_id: number; online: boolean; last_seen_ms: number }
export interface SocialSettings { strangers: boolean; apply: number; question: string; hide_last_seen: boolean }

export interface ClientEvents {
  state: CustomEvent<{ state: ClientState; ending: Ending | null; error: Error | null; retryInMs: number }>;
  message: CustomEvent<{ message: Message; inboxSeq: number; own: boolean; outgoing: Outgoing | undefined }>;
  outgoing: CustomEvent<Outgoing>;
  held: CustomEvent<Held>;
  receipt: CustomEvent<Receipt>;
  read: CustomEvent<Receipt>;
  typing: CustomEvent<{ conversation_id: string; user_id: number; stopped: boolean }>;
  presence: CustomEvent<{ states: PresenceState[] }>;
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
  signInExternal(proof: { token: string }): Promise<User>;
  connect(token?: string): Promise<User>;
  close(): void;
  signOut(what?: { scope?: number; deviceId?: string }): Promise<string[]>;
  retry(): void;

  /** Throws a RangeError when too many messages are queued, a Refusal when nobody is signed in. */
  send(to: number | string, text: string, options?: { clientId?: string } & Content): Outgoing;
  findUser(who: { account: string } | { user_id: number }): Promise<User>;
  changePassword(passwords: { password: string; newPassword: string; all?: boolean }): Promise<string[]>;
  setPushToken(push: { provider?: string; token?: string }): Promise<void>;
  deleteAccount(how: { password?: string; token?: string; deactivate?: boolean }): Promise<number>;
  exportData(): Promise<Record<string, unknown>>;
  profile(): Promise<Profile>;
  profiles(userIds: number[]): Promise<Profile[]>;
  updateProfile(fields: ProfileChange): Promise<Profile>;
  searchUsers(query: string, range?: { cursor?: string; limit?: number }): Promise<{ people: Profile[]; cursor: string; has_more: boolean }>;
  publishMoment(moment: Partial<Pick<Moment, 'text' | 'images' | 'video' | 'place' | 'visibility' | 'user_ids'>>, options?: { clientId?: string }):
    Promise<{ moment_id: string; time_ms: number; review?: 1 | 2; duplicate?: boolean }>;
  deleteMoment(id: string): Promise<void>;
  setMomentVisibility(id: string, visibility: MomentVisibility, userIds?: number[]): Promise<Moment>;
  moment(id: string): Promise<Moment>;
  momentFeed(range?: PageRange): Promise<MomentPage>;
  momentsOf(userId: number, range?: PageRange): Promise<MomentPage>;
  momentSquare(range?: PageRange): Promise<MomentPage>;
  likeMoment(id: string): Promise<number>;
  unlikeMoment(id: string): Promise<number>;
  commentMoment(id: string, text: string, options?: { replyTo?: string; clientId?: string }):
    Promise<{ comment_id: string; time_ms: number; duplicate?: boolean; text: string }>;
  deleteComment(id: string): Promise<void>;
  momentLikes(id: string, range?: PageRange): Promise<{ likes: { user_id: number; time_ms: number }[]; cursor: string; has_more: boolean }>;
  momentComments(id: string, range?: PageRange): Promise<{ comments: MomentComment[]; cursor: string; has_more: boolean }>;
  upload(blob: Blob, options?: { name?: string; type?: string; onProgress?: (sent: number, size: number) => void; signal?: AbortSignal }): Promise<UploadedFile>;
  fileURLs(ids: string[]): Promise<{ file: UploadedFile; url: string; expires_ms: number }[]>;
  files(range?: PageRange): Promise<{ files: UploadedFile[]; cursor: string; has_more: boolean }>;
  deleteFile(id: string): Promise<void>;
  held(range?: { afterHeldId?: string; limit?: number }): Promise<{ held: Held[]; has_more: boolean }>;
  apply(userId: number, words?: { remark?: string; answer?: string }): Promise<{ friends: boolean; expires_ms: number }>;
  acceptFriend(userId: number): Promise<Friend>;
  refuseFriend(userId: number): Promise<void>;
  withdrawApplication(userId: number): Promise<void>;
  applications(range?: { outgoing?: boolean; cursor?: string; limit?: number }): Promise<{ applications: FriendApplication[]; has_more: boolean; next: string }>;
  friends(range?: { cursor?: string; since?: string; limit?: number }): Promise<{
    friends: Friend[]; has_more: boolean; next: string; since: string; restarted: boolean; total: number;
  }>;
  deleteFriend(userId: number): Promise<void>;
  setAlias(userId: number, alias: string): Promise<Friend>;
  suggestions(range?: { limit?: number }): Promise<{ person: Person; common: number }[]>;
  presence(userIds: number[]): Promise<{ states: PresenceState[]; leaseMs: number }>;
  block(userId: number): Promise<void>;
  unblock(userId: number): Promise<void>;
  blocks(range?: { cursor?: string; limit?: number }): Promise<{ blocked: { person: Person; since_ms: number }[]; has_more: boolean; next: string; total: number }>;
  friendGroups(): Promise<FriendGroup[]>;
  createFriendGroup(name: string): Promise<FriendGroup>;
  renameFriendGroup(groupId: number, name: string): Promise<FriendGroup>;
  deleteFriendGroup(groupId: number): Promise<void>;
  orderFriendGroups(groupIds: number[]): Promise<FriendGroup[]>;
  moveFriends(groupId: number, userIds: number[]): Promise<void>;
  socialSettings(fields?: Partial<SocialSettings>): Promise<SocialSettings>;
  relation(userId: number): Promise<{
    person: Person; friend: Friend | null; incoming: FriendApplication | null; outgoing: FriendApplication | null;
    blocked: boolean; apply: number; question: string;
  }>;
  markRead(conversation: string, seq: number): Promise<boolean>;
  recall(message: Message): Promise<Became>;
  /** Changes a message that an application keeps as an EVENT about it says; false: that is nothing new. */
  follow(message: Partial<Message>, event: Message): Promise<boolean>;
  recallHeld(heldId: string): Promise<void>;
  edit(message: Message, text: string, options?: { version?: number }): Promise<Became>;
  versions(message: Message, range?: { afterVersion?: number; limit?: number }): Promise<{ versions: { version: number; text?: string; time_ms: number }[]; has_more: boolean }>;
  react(message: Message, reaction: string, options?: { remove?: boolean }): Promise<Became | undefined>;
  schedule(message: Record<string, unknown>, atMs: number): Promise<Scheduled>;
  scheduled(range?: { afterId?: string; limit?: number }): Promise<{ scheduled: Scheduled[]; has_more: boolean }>;
  reschedule(id: string, changes: { atMs?: number; text?: string; version?: number }): Promise<Scheduled>;
  unschedule(id: string): Promise<void>;
  searchMessages(text: string, options?: { conversation?: string; senderId?: number; kinds?: number[]; fromMs?: number; untilMs?: number; cursor?: string; limit?: number }): Promise<{ messages: Message[]; cursor: string; has_more: boolean; searched_to_ms: number }>;
  reactions(message: Message, reaction: string, range?: { afterUserId?: number; limit?: number }): Promise<{ reacted: { user_id: number; time_ms: number }[]; has_more: boolean }>;
  conversations(range?: { cursor?: string; limit?: number; hidden?: boolean }): Promise<{ conversations: Conversation[]; cursor: string; has_more: boolean }>;
  updateConversation(conversation: string, fields: { pinned?: boolean; mute?: number; draft?: string; hidden?: boolean; delete?: boolean }): Promise<Conversation>;
  readers(message: Message): Promise<{ userIds: number[]; of: number }>;
  lifetime(to: number | string, lifetimeMs?: number): Promise<{ lifetime_ms: number; set_by: number; set_ms: number }>;
  typing(to: number | string, options?: { stopped?: boolean }): Promise<void>;
  chatSettings(fields?: { read_receipts?: boolean }): Promise<{ read_receipts: boolean }>;
  history(conversation: number | string, range?: { beforeSeq?: number; afterSeq?: number; limit?: number }): Promise<History>;
  createGroup(name: string, options?: { people?: number[]; clientId?: string; avatar?: string; description?: string; policy?: number; question?: string; answer?: string }): Promise<{ group: GroupInfo; invited?: Invited[] }>;
  group(group: number): Promise<{ group: GroupInfo; invited?: boolean; applied?: boolean }>;
  groups(range?: { afterGroup?: number; limit?: number }): Promise<{ groups: GroupInfo[]; has_more: boolean }>;
  groupMembers(group: number, range?: { query?: string; cursor?: string; limit?: number }): Promise<{ members: GroupMember[]; has_more: boolean; cursor: string; version?: number }>;
  updateGroup(group: number, fields: GroupChange): Promise<GroupInfo>;
  dissolveGroup(group: number): Promise<void>;
  inviteToGroup(group: number, people: number[]): Promise<Invited[]>;
  answerInvitation(group: number, accept: boolean): Promise<GroupInfo | undefined>;
  joinGroup(group: number, options?: { remark?: string; answer?: string }): Promise<{ joined: boolean; group: GroupInfo; expires_ms?: number }>;
  decideApplication(group: number, person: number, approve: boolean, reason?: string): Promise<void>;
  groupRequests(range?: { group?: number; cursor?: string; limit?: number }): Promise<{ requests: GroupRequest[]; cursor: string; has_more: boolean }>;
  withdrawRequest(group: number, person?: number): Promise<void>;
  leaveGroup(group: number): Promise<void>;
  removeFromGroup(group: number, people: number[], reason?: string): Promise<number[]>;
  transferGroup(group: number, person: number): Promise<void>;
  setGroupRole(group: number, person: number, role: number, permissions?: number): Promise<void>;
  muteInGroup(group: number, person: number, untilMs: number, reason?: string): Promise<void>;
  banFromGroup(group: number, person: number, untilMs: number, reason?: string): Promise<void>;
  groupBans(group: number, range?: { afterUser?: number; limit?: number }): Promise<{ bans: GroupBan[]; has_more: boolean }>;
  setGroupSelf(group: number, fields: { alias?: string; notify?: number }): Promise<GroupMember>;
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
