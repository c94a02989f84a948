import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Action, applyBecame, Client, expire, memoryStorage, MessageKind, replyTo, sourceOf } from '../freeim.js';
import { Chat, Chats } from '../model.js';
import { FakeClock, FakeServer, listen } from './fake.mjs';

async function alice(storage = memoryStorage()) {
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  server.account('alice');
  const bob = server.account('bob').user_id;
  const client = new Client({ url: 'ws://x/ws', clock, WebSocket: server.WebSocket, random: () => 0.5, storage });
  const seen = listen(client);
  client.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => seen.synced > 0);
  return { clock, server, bob, client, seen };
}

test('a message of any kind goes out with all that it is, also after a reload', async () => {
  const storage = memoryStorage();
  const { clock, server, bob, client } = await alice(storage);
  const media = { file: 'https://cdn.example/a.png', width: 7 };
  const out = client.send(bob, 'a caption', { kind: MessageKind.IMAGE, media, mentions: [bob], reply_to: { seq: 1, message_id: 'M' } });
  assert.deepEqual(storage.load().outbox[0].content, { kind: MessageKind.IMAGE, media, mentions: [bob], reply_to: { seq: 1, message_id: 'M' } });
  await clock.until(() => out.state !== 'queued');
  const { body } = server.requests.findLast(({ action }) => action === Action.MESSAGE);
  assert.deepEqual([body.kind, body.text, body.media, body.mentions, body.reply_to.message_id], [1, 'a caption', media, [bob], 'M']);
  assert.deepEqual([out.message.kind, out.message.media, out.message.text], [1, media, 'a caption']);
});

test('announcements have a name, and nobody writes there', () => {
  const chats = new Chats();
  chats.take({ message: { conversation_id: 'a_all', sender_id: 7, id: 'm1', seq: 4, text: 'to all', time_ms: 1 }, own: false }, () => false);
  const [chat] = chats.list;
  assert.deepEqual([chat.name, chat.silent, chat.last.text], ['Announcements', true, 'to all']);
});

test('what became of a message is applied in any order: the greatest revision holds', () => {
  const message = { id: 'm', text: 'one', media: {}, mentions: [1] };
  assert.equal(applyBecame(message, { revision: 2, version: 3, edited_ms: 1, text: 'three' }), true);
  assert.equal(applyBecame(message, { revision: 1, version: 2, edited_ms: 1, text: 'two' }), false);
  assert.equal(message.text, 'three');
  assert.equal(applyBecame(message, { revision: 3, version: 3, edited_ms: 1, reactions: [{ reaction: 'x', count: 1 }], text: 'three' }), true);
  assert.equal(applyBecame(message, null), false);
  assert.equal(applyBecame(message, { revision: 4, version: 3, recalled: true }), true);
  assert.deepEqual([message.text, message.media, message.mentions, message.became], ['', null, [], { revision: 4, version: 3, recalled: true }]);
  assert.deepEqual(replyTo({ seq: 1, id: 'm', sender_id: 7, kind: 1 }), { seq: 1, message_id: 'm', sender_id: 7, kind: 1 });
  assert.deepEqual(sourceOf({ conversation_id: 'c', seq: 1, id: 'm' }), { conversation_id: 'c', seq: 1, message_id: 'm' });
});

test('what an event does not tell is read in the message', async () => {
  const { client } = await alice();
  const reads = [];
  client.history = async (conversation, { beforeSeq, limit }) => {
    reads.push([conversation, beforeSeq, limit]);
    return { messages: [{ id: 'x' }, { id: 'm', text: 'two', became: { revision: 2, version: 2, edited_ms: 1, reactions: [{ reaction: 'x', count: 1 }] } }] };
  };
  const event = (became, id = 'm') => ({ conversation_id: 'c', about: { seq: 7, message_id: id }, became });
  const message = { id: 'm', text: 'one' };
  assert.equal(await client.follow(message, event({ revision: 1, version: 2 }, 'other')), false);
  assert.equal(await client.follow(message, event({ revision: 1, version: 2 })), true);
  assert.deepEqual([message.text, message.became.revision, message.became.reactions.length], ['two', 2, 1]);
  assert.equal(await client.follow(message, event({ revision: 2, version: 2 })), false);
  assert.equal(await client.follow(message, event({ revision: 3, version: 2, recalled: true })), true);
  assert.deepEqual([message.text, reads], ['', [['c', 8, 1]]]);
});

test('the demo shows replies, edits, tombstones and reactions in their places, and no row of their own for changes', () => {
  const chat = new Chat('c_1_2', 2);
  const message = (seq, text, more = {}) => ({ id: `m${seq}`, client_id: '', seq, text, kind: 0, time_ms: seq, sender_id: 2, became: null, about: null, ...more });
  const event = (seq, id, became) => message(seq, '', { kind: 8, event: 'chat.edited', about: { seq: 1, message_id: id }, became });
  const edited = { revision: 1, version: 2, edited_ms: 1 };
  chat.put(message(1, 'one'), false);
  chat.put(message(2, 'two', { reply_to: { message_id: 'm1' } }), false);
  assert.equal(chat.put(event(3, 'm1', { revision: 1, version: 2 }), false), chat.items[0]);
  assert.equal(chat.items[0].text, 'one'); // until it is read again
  chat.put(message(1, 'won', { became: edited }), false);
  chat.put(message(4, '', { kind: MessageKind.COMMAND, payload: { name: 'x' } }), false);
  assert.deepEqual(chat.items.map(({ text }) => text), ['won', 'two']);
  assert.equal(chat.quoted(chat.items[1]), 'won');
  chat.put(message(1, 'one'), false); // an older page that comes late
  assert.equal(chat.items[0].text, 'won');
  chat.put(event(5, 'm1', { revision: 2, version: 2, recalled: true }), false);
  assert.equal(chat.quoted(chat.items[1]), 'Message recalled');
  chat.put(message(6, '', { kind: MessageKind.PLACE, place: { name: 'Home' } }), false);
  assert.equal(chat.items[2].text, '📍 Home');
});

test('a message disappears when its time is over, once', () => {
  const message = { id: 'm', text: 'secret', media: {}, expires_ms: 1000, became: { revision: 2, version: 2 } };
  assert.equal(expire(message, 999), false);
  assert.equal(message.text, 'secret');
  assert.equal(expire(message, 1000), true);
  assert.deepEqual([message.text, message.media, message.became], ['', null, { revision: 3, recalled: true, expired: true, recalled_ms: 1000, version: 2 }]);
  assert.equal(expire(message, 1000), false);
  assert.equal(expire({ text: 'stays' }, 1000), false);
});

test('the conversations take away what disappears, and say when the next one does', () => {
  const chats = new Chats({ me: 1, chats: [] });
  const put = (seq, expires_ms) => chats.take({ own: false, message: { id: `m${seq}`, conversation_id: 'c_1_2', seq, time_ms: 1, kind: 0, text: `text ${seq}`, expires_ms } }, () => true);
  put(1, 0);
  put(2, 1000);
  put(3, 2000);
  assert.deepEqual(chats.expire(999), { next: 1000, changed: false });
  assert.deepEqual(chats.expire(1000), { next: 2000, changed: true });
  assert.deepEqual(chats.expire(1000), { next: 2000, changed: false });
  assert.deepEqual(chats.get('c_1_2').items.map(({ text }) => text), ['text 1', '', 'text 3']);
  assert.deepEqual(chats.expire(2000), { next: Infinity, changed: true });
  assert.equal(JSON.stringify(new Chats(chats.snapshot()).snapshot()).includes('text 3'), false);
});

test('after how long messages disappear is asked, and settled', async () => {
  const { client, bob } = await alice();
  const asked = [];
  client.request = async (action, body) => {
    asked.push([action, body]);
    return { lifetime_ms: 60000, set_by: 7, set_ms: 1 };
  };
  assert.deepEqual(await client.lifetime(bob), { lifetime_ms: 60000, set_by: 7, set_ms: 1 });
  await client.lifetime('g_1', 0);
  assert.deepEqual(asked, [[Action.LIFETIME, { to_user_id: bob }], [Action.LIFETIME, { conversation_id: 'g_1', lifetime_ms: 0 }]]);
});

test('what this device sends disappears here too', async () => {
  const { clock, server, bob, client } = await alice();
  server.lifetimeMs = 60000;
  const out = client.send(bob, 'secret');
  await clock.until(() => out.state === 'committed');
  assert.equal(out.message.expires_ms, out.message.time_ms + 60000);
});
