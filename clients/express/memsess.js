// Licensed under the Apache License, Version 2.0; see LICENSE.

// The API of express-session in mod_memsess: app.use(require('memsess')()), in place of express-session.
// README.md beside this file says more.
'use strict';
const { randomUUID } = require('crypto');

const BATCH = 4000; // bytes of a header line, but for one attribute that is longer
const REST = 32;    // of a header line is for the header's name and the line's end
const LATE = 'The session was changed after the response had begun: this change is lost. '
  + 'Change the session before the head of the response is sent.';

const HUB = Symbol('hub');
// What express-session has in req.session that is no data.
const RESERVED = ['cookie', 'id', 'req'];

class MemSessError extends Error {
  constructor(message, status = 500) { super(message); this.status = this.statusCode = status; }
}

// A JSON object that is another language's tag: it is written back as it came.
class Tagged {}

const isUtf8 = (text) => !/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(text);
const isPlainObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

// Keys to names of attributes, values to what is stored, and back: docs/adapters.md says it in words.
class Codec {
  constructor(plain = []) { this.plain = new Set(plain); }

  name(key) {
    if (/^(?!\.\.)[A-Za-z0-9_.-]{1,64}$/.test(key)) return key;
    if (!isUtf8(key)) throw new MemSessError(`The session's key ${JSON.stringify(key)} is no valid Unicode.`);
    const name = '..' + [...Buffer.from(key)].map((byte) => {
      const c = String.fromCharCode(byte);
      return /[A-Za-z0-9_-]/.test(c) ? c : '.' + byte.toString(16).toUpperCase().padStart(2, '0');
    }).join('');
    if (name.length > 64) {
      throw new MemSessError(`The session's key '${key}' cannot be stored: as the name of an attribute, ${name}, it has `
        + `${name.length} characters, and 64 are the most. Use a shorter key.`);
    }
    return name;
  }

  // Undefined for a name that no key leads to.
  key(name) {
    if (!name.startsWith('..')) return name;
    const bytes = name.slice(2).replace(/\.([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
    const key = Buffer.from(bytes, 'latin1').toString();
    try { return this.name(key) === name ? key : undefined; } catch { return undefined; }
  }

  encode(key, value) {
    const isPlain = this.plain.has(key);
    try {
      const tagged = this.tag(value, []);
      if (typeof tagged === 'string' && !tagged.includes('\0') && (isPlain || isBare(tagged))) return tagged;
      if (typeof tagged === 'string' && isPlain) throw new Error('it has a NUL');
      return JSON.stringify(tagged);
    } catch (error) {
      throw new MemSessError(`The session's '${key}' cannot be stored: ${error.message}.`);
    }
  }

  decode(key, text) {
    if (this.plain.has(key) || !isJson(text)) return text;
    try { return this.untag(JSON.parse(text)); } catch { return text; } // a number such as 1e999
  }

  // The value in what JSON has. As JSON.stringify does it, toJSON is asked, and what is undefined or a function
  // is left out.
  tag(value, above) {
    if (value instanceof Uint8Array) return { ' b': Buffer.from(value).toString('base64') };
    if (typeof value?.toJSON === 'function') value = value.toJSON();
    if (typeof value === 'number' && !Number.isFinite(value)) throw new Error(`it has ${value}, which JSON lacks`);
    if (typeof value === 'bigint') throw new Error('it has a BigInt, which JSON lacks');
    if (value === undefined || typeof value === 'function' || typeof value === 'symbol') return undefined;
    if (value === null || typeof value !== 'object') return value;
    if (above.includes(value)) throw new Error('it refers to itself');
    above = [...above, value];
    if (Array.isArray(value)) return value.map((item) => this.tag(item, above) ?? null);
    const entries = Object.entries(value);
    if (value instanceof Tagged) return Object.assign(Object.create(null), value);
    const tagged = Object.create(null);
    for (const [key, item] of entries) {
      const inner = this.tag(item, above);
      if (inner !== undefined) tagged[key] = inner;
    }
    const [only, ...others] = Object.keys(tagged);
    return only?.startsWith(' ') && !others.length ? { ' di': { [only + '__']: tagged[only] } } : tagged;
  }

  untag(value) {
    if (typeof value === 'number' && !Number.isFinite(value)) throw new Error('no number of JavaScript');
    if (Array.isArray(value)) return value.map((item) => this.untag(item));
    if (!isPlainObject(value)) return value;
    const entries = Object.entries(value);
    if (entries.length === 1 && entries[0][0].startsWith(' ')) return this.known(...entries[0]);
    const untagged = {};
    for (const [key, item] of entries) define(untagged, key, this.untag(item));
    return untagged;
  }

  known(tag, inner) {
    if (tag === ' b' && typeof inner === 'string' && Buffer.from(inner, 'base64').toString('base64') === inner) {
      return Buffer.from(inner, 'base64');
    }
    const keys = isPlainObject(inner) ? Object.keys(inner) : [];
    if (tag === ' di' && keys.length === 1 && /^ .*__$/s.test(keys[0])) {
      return { [keys[0].slice(0, -2)]: this.untag(inner[keys[0]]) };
    }
    return Object.assign(new Tagged(), { [tag]: inner });
  }
}

// Also where the key is __proto__.
function define(object, key, value) {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

function isJson(text) {
  if (/^[ \t\r\n]|[ \t\r\n]$/.test(text)) return false;
  try { JSON.parse(text); return true; } catch { return false; }
}

const isBare = (text) => !text.startsWith('"') && !isJson(text) && isUtf8(text);
const escape = (text) => encodeURIComponent(text).replace(/[!'()*~]/g,
  (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase());
// Undefined where it is not UTF-8, which no string of JavaScript can be.
function unescape(text) {
  try { return decodeURIComponent(text.replace(/\+/g, ' ')); } catch { return undefined; }
}

// The request's session as mod_memsess hands it over, and what the response says of it.
class Front {
  constructor(headers, codec, fieldSize = 8192) {
    Object.assign(this, { codec, most: fieldSize - REST, before: new Map(), written: null, ends: false, renews: false,
      expires: null });
    this.get = (name) => headers[name.toLowerCase().replace(/_/g, '-')];
    this.state = this.get('MEMSESS_STATE');
    this.id = this.get('MEMSESS_ID');
  }

  get isActive() { return this.state === 'active' && !this.ends; }

  load() {
    if (this.state === undefined) {
      throw new MemSessError('mod_memsess is not in front of this application, or this section of its configuration '
        + 'lacks MemSess On, or MemSessExpose headers.');
    }
    if (this.state === 'unavailable') {
      throw new MemSessError('The session cannot be read now: the session servers do not answer (unavailable).', 503);
    }
    if (!['active', 'none', 'unknown', 'expired', 'invalid'].includes(this.state)) {
      throw new MemSessError(`MemSess-State is '${this.state}', which this adapter does not know.`);
    }
    this.before = new Map();
    for (const pair of this.isActive ? this.data().split('&') : []) {
      const [name, ...rest] = pair.split('=');
      const key = name && this.codec.key(unescape(name));
      const text = unescape(rest.join('='));
      if (!name || key === undefined || text === undefined || RESERVED.includes(key)) continue;
      this.before.set(name, this.codec.encode(key, this.codec.decode(key, text)));
    }
    return this.values(this.before);
  }

  values(texts) {
    const values = {};
    for (const [name, text] of texts) {
      const key = this.codec.key(name);
      define(values, key, this.codec.decode(key, text));
    }
    return values;
  }

  data() {
    const parts = this.get('MEMSESS_DATA_PARTS');
    const got = parts === undefined ? [this.get('MEMSESS_DATA')]
      : /^[1-9]\d*$/.test(parts) ? Array.from({ length: parts }, (_, n) => this.get(`MEMSESS_DATA_${n + 1}`)) : [undefined];
    if (got.includes(undefined)) {
      throw new MemSessError('The session is there, but not its data, or not all of it: MemSess-Data was lost on the way, '
        + 'since it is too long there. See docs/limits.md.');
    }
    return got.join('');
  }

  texts(values) {
    const texts = new Map();
    for (const [key, value] of Object.entries(values)) {
      const text = this.codec.encode(key, value);
      if (text !== undefined) texts.set(this.codec.name(key), text);
    }
    return texts;
  }

  end() { this.ends = true; this.renews = false; this.before = new Map(); }

  hasChanged(values) { return !same(this.texts(values), this.written ?? this.before); }

  headers(values) {
    const after = this.texts(values);
    const set = [...after].filter(([name, text]) => this.before.get(name) !== text);
    const lines = [];
    if (this.ends && this.state === 'active') lines.push(['MemSess-Destroy', '1']);
    for (const line of this.batches([...this.before.keys()].filter((name) => !after.has(name)))) {
      lines.push(['MemSess-Unset', line]);
    }
    for (const line of this.batches(set.map(([name, text]) => `${name}=${escape(text)}`))) lines.push(['MemSess-Set', line]);
    if ((this.isActive || set.length) && this.expires !== null) lines.push(['MemSess-Expire', String(this.expires)]);
    if (this.isActive && this.renews) lines.push(['MemSess-Renew', '1']);
    this.written = after;
    return lines;
  }

  batches(items) {
    const lines = [];
    for (const item of items) {
      if (item.length > this.most) {
        throw new MemSessError(`The session's attribute ${item.split('=')[0]} is too long for a header line: it takes `
          + `${item.length} bytes in form encoding, and ${this.most} are the most. Keep it in several keys, or say `
          + 'responsefieldsize= on ProxyPass, and give the adapter the same number as fieldSize.');
      }
      const last = lines.length - 1;
      if (last >= 0 && lines[last].length + 1 + item.length <= BATCH) lines[last] += '&' + item;
      else lines.push(item);
    }
    return lines;
  }
}

function same(a, b) { return a.size === b.size && [...a].every(([name, text]) => b.get(name) === text); }

// req.session.cookie: maxAge is what MemSess-Expire says, httpd's configuration says the rest.
class Cookie {
  constructor(change) {
    const hidden = { change, maxAge: null };
    Object.defineProperty(this, 'hidden', { value: hidden });
    Object.defineProperty(this, 'originalMaxAge', { value: null, writable: true, enumerable: true });
  }

  get maxAge() { return this.hidden.maxAge; }
  set maxAge(ms) {
    if (ms !== null && typeof ms !== 'number') throw new TypeError('maxAge is a number of milliseconds, or null');
    this.hidden.change(ms === null ? 0 : Math.max(1, Math.round(ms / 1000)));
    this.hidden.maxAge = this.originalMaxAge = ms;
  }

  get expires() { return this.maxAge === null ? null : new Date(Date.now() + this.maxAge); }
  set expires(date) { this.maxAge = date ? date.valueOf() - Date.now() : null; }
}

// req.session: its enumerable properties are the data.
class Session {
  constructor(hub, values) {
    Object.defineProperties(this, {
      [HUB]: { value: hub }, req: { value: hub.req }, id: { get: () => hub.id },
      cookie: { value: new Cookie((seconds) => hub.change(() => { hub.front.expires = seconds; })) },
    });
    for (const [key, value] of Object.entries(values)) define(this, key, value);
    const guarded = (what) => (...args) => { hub.change(() => {}); return Reflect[what](...args); };
    return new Proxy(this, { set: guarded('set'), deleteProperty: guarded('deleteProperty'),
      defineProperty: guarded('defineProperty') });
  }

  // As express-session: what follows has another id, and none of the data.
  regenerate(done) { return this[HUB].run('regenerate', done, this); }
  destroy(done) { return this[HUB].run('destroy', done, this); }
  reload(done) { return this[HUB].run('reload', done, this); }
  // It is stored as the response begins; this says early whether it can be.
  save(done) { return this[HUB].run('check', done, this); }
  // A new id for the same data.
  renew(done) { return this[HUB].run('renew', done, this); }
  touch() { return this; }
  resetMaxAge() { return this; }
}

// All that one request does with its session.
class Hub {
  constructor(req, options) {
    this.req = req;
    this.front = new Front(req.headers, new Codec(options.plain), options.fieldSize);
    this.begun = this.failed = false;
    this.id = this.front.id ?? randomUUID();
    this.session = new Session(this, this.front.load());
    const maxAge = options.cookie?.maxAge;
    if (maxAge && !this.front.isActive) this.front.expires = Math.ceil(maxAge / 1000);
    Object.defineProperty(req, 'session', { configurable: true, enumerable: true, get: () => this.session,
      set: (value) => this.replace(value) });
    Object.defineProperty(req, 'sessionID', { configurable: true, enumerable: true, get: () => this.id });
  }

  change(work) {
    if (this.begun) throw new MemSessError(LATE);
    work();
  }

  // By an application: with nothing, which is the end, or with other data.
  replace(value) {
    if (value === null || value === undefined) this.destroy();
    else if (value !== this.session) this.change(() => { this.session = new Session(this, { ...value }); });
  }

  run(what, done, session) {
    let error;
    try { this[what](); } catch (e) { error = e; }
    if (done) process.nextTick(done, error);
    else if (error) throw error;
    return session;
  }

  regenerate() {
    this.change(() => {
      this.front.end();
      this.id = randomUUID();
      this.session = new Session(this, {});
    });
  }

  renew() { this.change(() => { this.front.renews = true; }); }
  destroy() { this.change(() => { this.front.end(); this.session = undefined; }); }
  reload() { this.change(() => { this.session = new Session(this, this.front.values(this.front.before)); }); }

  check() {
    if (!this.begun) this.front.headers(this.session ?? {});
    else if (this.front.hasChanged(this.session ?? {})) throw new MemSessError(LATE);
  }

  // As the head is made. What cannot be stored is not to look as if it were.
  begin(res) {
    if (this.begun) return;
    let lines = [];
    try {
      lines = this.front.headers(this.session ?? {});
    } catch (error) {
      console.error(error);
      this.failed = true;
      for (const name of res.getHeaderNames()) res.removeHeader(name);
      res.statusCode = 500;
      res.setHeader('Content-Type', 'text/plain');
    }
    this.begun = true;
    for (const [name, value] of lines) res.setHeader(name, [].concat(res.getHeader(name) ?? [], value));
  }

  watch(res) {
    const { writeHead, write, end } = res;
    const body = (args) => {
      const done = args.find((arg) => typeof arg === 'function');
      return done ? [done] : [];
    };
    res.writeHead = (...args) => {
      this.begin(res);
      return writeHead.apply(res, this.failed ? [500] : args);
    };
    res.write = (...args) => {
      this.begin(res);
      return this.failed ? true : write.apply(res, args);
    };
    res.end = (...args) => {
      this.begin(res);
      return end.apply(res, this.failed ? ['Internal Server Error\n', ...body(args)] : args);
    };
    res.on('close', () => {
      try { if (!this.failed && this.begun) this.check(); } catch (error) { console.error(error); }
    });
  }
}

module.exports = function memsess(options = {}) {
  return (req, res, next) => {
    if (req.session) return next();
    let hub;
    try { hub = new Hub(req, options); } catch (error) { return next(error); }
    hub.watch(res);
    next();
  };
};
Object.assign(module.exports, { Codec, Front, Tagged, MemSessError, Session, Cookie });
