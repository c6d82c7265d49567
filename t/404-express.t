# clients/express/memsess.js, with Express, passport, and connect-flash's way of working.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Adapter;
use MemSess::Process qw(wait_for);
use MemSess::Site;
use MemSess::Test;

plan tests => 15;

my $test = MemSess::Site::top() . '/clients/express/test';
MemSess::Adapter::vectors("$test/vectors.js");

# Node accepts no request head above 16 kB, unless it is told to.
my $app = MemSess::Adapter->start(late => [qw(set nested regenerate save maxAge)],
    command => sub { [qw(env NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs node --max-http-header-size=400000), "$test/app.js", $_[0]] });
my ($one, $two) = $app->members;

sub said { MemSess::Adapter::said(@_) }

$app->behaves;

subtest 'the documentation\'s examples' => sub {
    my $c = client($one);
    said($c, 'views/foo') for 1 .. 2;
    is said($c->via($two), 'views/foo'), 'you viewed this page 3 times', 'views';
    is said($c, 'doc'), 'nobody', 'nobody';
    my $before = $c->copy;
    is $c->post('/app/doc/login', 'user=J%C3%BCrgen', 'Content-Type: application/x-www-form-urlencoded')->status,
        302, 'log-in: regenerate and save';
    isnt $c->cookie, $before->cookie, 'a new id';
    is said($c->via($one), 'doc'), "hello, J\xc3\xbcrgen", 'the user';
    is said($before, 'doc'), 'nobody', 'the old id is dead';
    is said($c, 'get?views'), 'null', 'regenerate leaves nothing of the session before';
    $before = $c->copy;
    is $c->get('/app/doc/logout')->status, 302, 'log-out';
    is said($before, 'doc'), 'nobody', 'everywhere';
};

subtest 'passport' => sub {
    my $c = client($one);
    is $c->get('/app/passport/me')->status, 401, 'nobody';
    said($c, 'add?visits');
    my $before = $c->copy;
    is said($c, 'passport/login?id=42'), 'in', 'log-in';
    isnt $c->cookie, $before->cookie, 'has a new id';
    is said($c->via($two), 'passport/me'), '{"id":42}', 'the user, on the other member';
    is said($c, 'get?visits'), 1, 'keepSessionInfo';
    is $before->get('/app/passport/me')->status, 401, 'the old id is dead';
    $before = $c->copy;
    is said($c, 'passport/logout'), 'out', 'log-out';
    is $c->get('/app/passport/me')->status, 401, 'nobody again';
    is $before->get('/app/passport/me')->status, 401, 'everywhere';
};

subtest 'connect-flash' => sub {
    my $c = client($one);
    said($c, 'flash?a%20word');
    is said($c->via($two), 'flashed'), '["a word","%s","two"]', 'is shown once';
    is said($c, 'flashed'), '[]', 'and not again';
};

subtest 'the rest of express-session\'s API' => sub {
    my $c = client($one);
    is $c->get('/app/save')->status, 302, 'save, then redirect';
    is said($c, 'get?saved'), 1, 'is stored';
    like said($c, 'save-wrong'), qr/'wrong' cannot be stored/, 'save says what cannot be';
    said($c, 'explicit');
    is said($c, 'get?explicit'), 1, 'writeHead with headers of its own';
    is said($c, 'reload'), 'undefined', 'reload';
    is said($c, 'touch'), ',true', 'touch, cookie.maxAge, sessionID';
    said($c, 'set');
    MemSess::Adapter::dump_is($c, { other => 1 }, 'req.session = {...}');
    said($c, 'null');
    is $c->cookie, undef, 'req.session = null is the end';
};
