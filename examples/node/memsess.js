'use strict';
// Sessions of mod_memsess, as middleware of express (or of anything that calls (req, res, next)).
//
// req.memsess.data is an object of strings. What is changed there before the response's head is
// written goes into response headers, and so into the session.

class Session {
  constructor(headers) {
    this.state = headers['memsess-state'] || 'none';
    this.id = headers['memsess-id'];    // public: for logs
    const data = new URLSearchParams(headers['memsess-data']);
    this.data = Object.assign(Object.create(null), Object.fromEntries(data));
    this.before = { ...this.data };
    this.headers = [];
  }

  // Adds exactly, whoever else does so at the same time.
  incr(name, by = 1) { this.headers.push(['MemSess-Incr', encode(name, by)]); }

  // A new id: for log-in and every change of privilege.
  renew() { this.headers.push(['MemSess-Renew', '1']); }

  // Ends the session; what is set from here on begins a new one.
  destroy() {
    this.data = Object.create(null);
    this.before = {};
    this.headers.push(['MemSess-Destroy', '1']);
  }

  changes() {
    const set = Object.entries(this.data)
      .filter(([name, value]) => this.before[name] !== String(value));
    const gone = Object.keys(this.before).filter((name) => !(name in this.data));
    return [...this.headers,
      ...set.map(([name, value]) => ['MemSess-Set', encode(name, value)]),
      ...gone.map((name) => ['MemSess-Unset', name])];
  }
}

function encode(name, value) { return new URLSearchParams([[name, String(value)]]).toString(); }

module.exports = function memsess(req, res, next) {
  const session = req.memsess = new Session(req.headers);
  const writeHead = res.writeHead;
  res.writeHead = function (...args) {
    for (const [name, value] of session.changes()) {
      res.setHeader(name, [].concat(res.getHeader(name) || [], value));
    }
    return writeHead.apply(res, args);
  };
  next();
};
