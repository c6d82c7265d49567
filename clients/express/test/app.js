#!/usr/bin/node
// Licensed under the Apache License, Version 2.0; see LICENSE.
// The application of t/404-express.t: /app/NAME?ARGUMENT, the same in all languages, and what Express has besides.
'use strict';
const express = require('express');
const passport = require('passport');
const { format } = require('util');
const memsess = require('../memsess');

const app = express();
const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
const add = (session, key) => { session[key] = (session[key] ?? 0) + 1; };

app.disable('etag');
app.use(memsess({ plain: ['user'], fieldSize: 400000 }));
app.use(express.json({ limit: '1mb' }));
app.use(express.urlencoded({ extended: false }));

const commands = {
  get: (req, key) => JSON.stringify(req.session[key] ?? null),
  dump: (req) => JSON.stringify(req.session),
  id: (req) => req.session.id,
  put: (req) => { Object.assign(req.session, req.body); },
  delete: (req, key) => { delete req.session[key]; },
  add: (req, key) => add(req.session, key),
  nested: (req) => { req.session.cart ??= {}; add(req.session.cart, 'n'); },
  bytes: (req) => { req.session.bytes = bytes; },
  'is-bytes': (req) => (bytes.equals(req.session.bytes) ? 'same' : 'other'),
  object: (req) => { req.session.object = 1n; },
  login: (req, user) => { req.session.user = user; },
  renew: (req) => { req.session.renew(); },
  switch: (req, user) => { req.session.regenerate((error) => { if (error) throw error; }); req.session.user = user; },
  logout: (req) => { req.session.destroy((error) => { if (error) throw error; }); },
  expire: (req, seconds) => { req.session.cookie.maxAge = seconds * 1000; req.session.kept = 1; },
  untouched: () => 'nothing',
  // Of express-session's own.
  set: (req) => { req.session = { other: 1 }; },
  null: (req) => { req.session = null; },
  touch: (req) => { req.session.touch().resetMaxAge(); return [req.session.cookie.maxAge, req.sessionID === req.session.id].join(); },
};

app.all('/app/late', (req, res) => {
  req.session.cart ??= {};
  res.type('text').write('begun\n');
  const how = decodeURIComponent(req.originalUrl.split('?')[1]);
  if (how === 'nested') req.session.cart.n = 1000;
  else if (how === 'regenerate') req.session.regenerate((error) => { console.log(error.message); });
  else if (how === 'save') { req.session.cart.n = 5; return req.session.save((error) => { console.log(error.message); res.end(); }); }
  else if (how === 'maxAge') req.session.cookie.maxAge = 1000;
  else req.session.late = 1;
  res.end('done\n');
});

app.get('/app/explicit', (req, res) => {
  add(req.session, 'explicit');
  res.writeHead(200, { 'Content-Type': 'text/plain' });
  res.end('explicit');
});

app.get('/app/reload', (req, res) => {
  req.session.a = 'changed';
  req.session.reload(() => res.send(String(req.session.a)));
});

app.get('/app/save', (req, res) => {
  req.session.saved = 1;
  req.session.save((error) => res.redirect(error ? '/no' : '/app/get?saved'));
});

app.get('/app/save-wrong', (req, res) => {
  req.session.wrong = 1n;
  req.session.save((error) => { delete req.session.wrong; res.send(error.message); });
});

// As express-session's README has it.
app.get('/app/views/:path', (req, res) => {
  if (!req.session.views) req.session.views = {};
  req.session.views[req.params.path] = (req.session.views[req.params.path] || 0) + 1;
  res.send('you viewed this page ' + req.session.views[req.params.path] + ' times');
});
app.get('/app/doc', (req, res) => {
  if (req.session.user) return res.send('hello, ' + req.session.user);
  res.send('nobody');
});
app.post('/app/doc/login', (req, res, next) => {
  req.session.regenerate((err) => {
    if (err) return next(err);
    req.session.user = req.body.user;
    req.session.save((error) => { if (error) return next(error); res.redirect('/app/doc'); });
  });
});
app.get('/app/doc/logout', (req, res, next) => {
  req.session.user = null;
  req.session.save((err) => {
    if (err) return next(err);
    req.session.regenerate((error) => { if (error) return next(error); res.redirect('/app/doc'); });
  });
});

// passport, with a strategy that believes the name.
class Believes extends passport.Strategy {
  constructor() { super(); this.name = 'believes'; }
  authenticate(req) { this.success({ id: Number(req.query.id) }); }
}
passport.use(new Believes());
passport.serializeUser((user, done) => done(null, user.id));
passport.deserializeUser((id, done) => done(null, { id }));
const passported = [passport.initialize(), passport.session()];
app.get('/app/passport/login', passported, passport.authenticate('believes', { keepSessionInfo: true }),
  (req, res) => res.send('in'));
app.get('/app/passport/me', passported, (req, res) => res.status(req.user ? 200 : 401).send(JSON.stringify(req.user ?? null)));
app.get('/app/passport/logout', passported, (req, res, next) => req.logout((error) => (error ? next(error) : res.send('out'))));

// connect-flash 0.1.1, whose whole code this is: Debian has no package of it.
app.use((req, res, next) => {
  req.flash = function (type, msg) {
    if (this.session === undefined) throw Error('req.flash() requires sessions');
    const msgs = this.session.flash = this.session.flash || {};
    if (type && msg) {
      if (arguments.length > 2 && format) msg = format(...[].slice.call(arguments, 1));
      else if (Array.isArray(msg)) {
        msg.forEach((val) => { (msgs[type] = msgs[type] || []).push(val); });
        return msgs[type].length;
      }
      return (msgs[type] = msgs[type] || []).push(msg);
    }
    if (type) {
      const arr = msgs[type];
      delete msgs[type];
      return arr || [];
    }
    this.session.flash = {};
    return msgs;
  };
  next();
});
commands.flash = (req, text) => { req.flash('info', text); req.flash('info', ['%s', 'two']); };
commands.flashed = (req) => JSON.stringify(req.flash('info'));

app.all('/app/:command', (req, res) => {
  const said = commands[req.params.command](req, decodeURIComponent((req.originalUrl.split('?')[1] ?? '').replace(/\+/g, ' ')));
  res.type('text').send(typeof said === 'string' ? said : '');
});

app.listen(Number(process.argv[2]), '127.0.0.1');
