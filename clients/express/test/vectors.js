#!/usr/bin/node
// Licensed under the Apache License, Version 2.0; see LICENSE.
// clients/express/memsess.js against clients/vectors.json.
'use strict';
const assert = require('assert');
const { Codec, Front, Tagged } = require('../memsess');
const vectors = require('../../vectors.json');
const codec = new Codec();
let held = 0, failed = 0;

function holds(what, check) {
  try { check(); held++; } catch (error) { failed++; console.log(`does not hold: ${what}: ${error.message}`.slice(0, 400)); }
}
const is = (found, wanted, what) => holds(what, () => assert.deepStrictEqual(found, wanted));
const refuses = (work, pattern, what) => holds(what, () => assert.throws(work, pattern));
const front = (variables, size) => new Front(Object.fromEntries(Object.entries(variables)
  .map(([name, value]) => [name.toLowerCase().replace(/_/g, '-'), value])), new Codec(), size);
function active(data) {
  const made = front({ MEMSESS_STATE: 'active', MEMSESS_ID: 'id', MEMSESS_DATA: data });
  made.load();
  return made;
}
const lines = (made, name) => made.filter(([header]) => header === name).map(([, value]) => value);

for (const { key, name } of vectors.names) {
  is(codec.name(key), name, `the name of ${key}`);
  is(codec.key(name), key, `the key of ${name}`);
}
for (const { key } of vectors.names_refused) refuses(() => codec.name(key), new RegExp(key), `the key ${key}`);
for (const name of vectors.names_left_alone.names) is(codec.key(name), undefined, `the name ${name}`);

for (const { value, text } of vectors.values.both) {
  is(codec.decode('a', text), value, `reads ${text}`);
  is(codec.encode('a', value), text, `writes ${text}`);
}
for (const { value, text } of vectors.values.read_only) {
  holds(`reads ${text}`, () => assert.deepEqual(codec.decode('a', text), value));
}
const loop = [];
loop.push(loop);
for (const value of [NaN, Infinity, -Infinity, { a: [NaN] }, loop, 1n]) {
  refuses(() => codec.encode('the key', value), /'the key'/, 'what JSON lacks');
}
for (const text of ['1e999', '\ud800', '"\ud800"', '{"__proto__":1}', '[' + '1e999]', '[['.repeat(50000)]) {
  is(codec.decode('a', codec.encode('a', text)), text, `a string: ${text.slice(0, 20)}`);
}
is(codec.encode('a', codec.decode('a', '{"__proto__":{"x":1}}')), '{"__proto__":{"x":1}}', '__proto__ is a key');
is(codec.encode('a', { d: new Date(0), f() {}, u: undefined }), '{"d":"1970-01-01T00:00:00.000Z"}', 'as JSON.stringify');

const plain = new Codec(['a']);
for (const { value, text } of vectors.plain.both) {
  is(plain.encode('a', value), text, `plain: writes ${text}`);
  is(plain.decode('a', text), value, `plain: reads ${text}`);
}
for (const { value, text } of vectors.plain.write_only) is(plain.encode('a', value), text, `plain: writes ${text}`);
for (const value of vectors.plain.refused.values) refuses(() => plain.encode('a', value), /NUL/, 'plain: a NUL');

for (const { text, means } of vectors.tags.known) {
  const value = codec.decode('a', text);
  if ('hex' in means) is(value, Buffer.from(means.hex, 'hex'), `reads ${text}`);
  else if ('dict' in means) is(value, means.dict, `reads ${text}`);
  else holds(`keeps ${text}`, () => assert(value instanceof Tagged));
  is(codec.encode('a', value), text, `writes ${text}`);
}
for (const text of [...vectors.tags.kept.texts, ...vectors.tags.nested.map((one) => one.text), '{" php":"eA=="}']) {
  is(codec.encode('a', [codec.decode('a', text)]), `[${text}]`, `writes ${text}`);
}
for (const { data, dict } of vectors.data) is(active(data).load(), dict, `data: ${data}`);
for (const { name, text, pair } of vectors.set.both) {
  const key = codec.key(name);
  is(active('').headers({ [key]: codec.decode(key, text) }), [['MemSess-Set', pair]], `set ${pair}`);
}
for (const { variables, dict, error } of vectors.parts) {
  if (error) refuses(() => front(variables).load(), new RegExp(error), 'parts that were lost');
  else is(front(variables).load(), dict, 'parts');
}
for (const [state, does] of Object.entries(vectors.states)) {
  const load = () => front({ MEMSESS_STATE: state, MEMSESS_DATA: 'a=1' }).load();
  if (does === 'error') refuses(load, { status: 503 }, state);
  else is(load(), does === 'load' ? { a: 1 } : {}, state);
}
refuses(() => front({}).load(), /not in front/, 'no headers');
refuses(() => front({ MEMSESS_STATE: 'odd' }).load(), /odd/, 'an odd state');
const nulls = vectors.nulls.changes.map(({ data, now, kept }) => ({ data, now, ...kept }));
for (const { data, now, set, unset } of [...vectors.changes, ...nulls]) {
  const said = active(data).headers(now);
  const pairs = lines(said, 'MemSess-Set').join('&').split('&').filter(Boolean).map((pair) => pair.split('='));
  is(Object.fromEntries(pairs.map(([name, text]) => [name, decodeURIComponent(text)])), set, `changes of ${data}: set`);
  is(lines(said, 'MemSess-Unset').join('&'), unset.join('&'), `changes of ${data}: unset`);
}
const many = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`key${n + 1}`, 'x'.repeat(1000)]));
is(lines(active('').headers(many), 'MemSess-Set').map((line) => line.split('&').length), [3, 3, 3, 3, 3, 3, 2], 'lines');
is(active('').headers({ big: 'x'.repeat(8156) }).length, 1, 'what just fits');
refuses(() => active('').headers({ big: 'x'.repeat(8157) }), /attribute big .*responsefieldsize/, 'what is too long');
is(active('a=%FF&b=1').load(), { b: 1 }, 'what is no UTF-8 is left alone');
is(active('id=1&cookie=2&req=3&b=1').load(), { b: 1 }, 'so are names that express-session has taken');
is(active('id=1&b=1').headers({ b: 1 }), [], 'unchanged');

console.log(`${held} hold, ${failed} do not`);
process.exit(failed ? 1 : 0);
