# clients/flask/memsess_flask.py, under gunicorn.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Adapter;
use MemSess::Site;
use MemSess::Test;

plan tests => 15;

my $dir = MemSess::Site::top() . '/clients/flask/test';
my $app = MemSess::Adapter->start(command => MemSess::Adapter::gunicorn($dir, 'app:app'));
my ($one, $two) = $app->members;

sub said { MemSess::Adapter::said(@_) }

subtest 'the documentation\'s example' => sub {
    my $c = client($one);
    is said($c, 'doc/'), 'You are not logged in', 'nobody';
    is $c->cookie, undef, 'which makes no session';
    is $c->post('/app/doc/login', 'username=J%C3%BCrgen', 'Content-Type: application/x-www-form-urlencoded')->status,
        302, 'log-in';
    is said($c->via($two), 'doc/'), "Logged in as J\xc3\xbcrgen", 'on the other member';
    $c->get('/app/doc/logout');
    is said($c, 'doc/'), 'You are not logged in', 'log-out';
};

subtest 'tagged JSON' => sub {
    my $c = client($one);
    said($c, 'tagged');
    is said($c->via($two), 'is-tagged'), q([(1, ('a', b'\xff')), Markup('<b>'), {' t': [1]}]), 'comes back as it was';
};

subtest 'flash' => sub {
    my $c = client($one);
    said($c, 'flash?a%20word');
    is said($c->via($two), 'flashed'), '[["error","a word"],["message","two"]]', 'is shown once';
    is said($c, 'flashed'), '[]', 'and not again';
};

subtest 'permanent sessions' => sub {
    my $c = client($one);
    like $c->get('/app/expire?7200')->header('Set-Cookie'), qr/Max-Age=7200/i, 'the cookie lasts';
    is said($c, 'get?_permanent'), 'true', 'it is known';
    my $cookie = $c->get('/app/transient')->header('Set-Cookie');
    ok $cookie && $cookie !~ /Max-Age/i, 'and no longer' or diag $cookie;
};

subtest '100 kB in one attribute' => sub {
    my $c = client($one);
    my $text = 'x' x 100_000;
    MemSess::Adapter::put($c, { big => $text });
    ok said($c->via($two), 'get?big') eq qq("$text"), 'where responsefieldsize and the adapter allow it';
    my $r = $c->post('/app/put', qq({"big":"@{[ $text x 4 ]}"}), 'Content-Type: application/json');
    is $r->status, 500, 'and no more than that';
    ok said($c, 'get?big') eq qq("$text"), 'the session is as it was';
};

subtest 'Flask-Login' => sub {
    my $c = client($one);
    is $c->get('/app/fl/me')->status, 401, 'nobody';
    said($c, 'untouched');
    said($c, 'add?visits');
    my $before = $c->cookie;
    said($c, 'fl/login/42');
    isnt $c->cookie, $before, 'a log-in has a new id';
    is said($c->via($two), 'fl/me'), '42', 'the user';
    like $c->get('/lua/env')->env('MEMSESS_DATA'), qr/(?:^|&)_user_id=42(?:&|$)/, 'as httpd sees it';
    said($c, 'fl/logout');
    is $c->get('/app/fl/me')->status, 401, 'is gone';
};

$app->behaves;
