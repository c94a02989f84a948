import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as freeim from '../freeim.js';

const types = readFileSync(new URL('../freeim.d.ts', import.meta.url), 'utf8');
const classBody = (name) => types.match(new RegExp(`export declare class ${name}[^{]*\\{([^]*?)^\\}`, 'm'))[1];

test('the types name every export, and nothing else', () => {
  const declared = [...types.matchAll(/^export declare (?:const|function|class) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(freeim).sort());
});

for (const name of ['Client', 'Outgoing', 'Refusal']) {
  test(`the types know every member of ${name}`, () => {
    for (const member of Object.getOwnPropertyNames(freeim[name].prototype).filter((key) => key !== 'constructor')) {
      assert.match(classBody(name), new RegExp(`^\\s*(readonly )?${member}[(:]`, 'm'), member);
    }
  });
}

for (const table of ['Action', 'Code', 'CloseReason', 'DeviceType', 'SignOutScope', 'Codec', 'RoomKind', 'RoomLeftReason', 'RoomSkipReason']) {
  test(`the types know every number of ${table}`, () => {
    const text = types.match(new RegExp(`const ${table}: Readonly<\\{([^}]*)\\}`))[1];
    const numbers = Object.fromEntries([...text.matchAll(/(\w+): (\d+)/g)].map(([, key, value]) => [key, Number(value)]));
    assert.deepEqual(numbers, { ...freeim[table] });
  });
}
