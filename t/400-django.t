# clients/django/memsess_django.py, under gunicorn.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Adapter;
use MemSess::Site;
use MemSess::Test;

plan tests => 16;

my $dir = MemSess::Site::top() . '/clients/django/test';
my $app = MemSess::Adapter->start(command => MemSess::Adapter::gunicorn($dir, 'app:app'));
my ($one, $two) = $app->members;
my $form = 'Content-Type: application/x-www-form-urlencoded';

sub said { MemSess::Adapter::said(@_) }

sub token { return $_[0]->body =~ /name="csrfmiddlewaretoken" value="(\w+)"/ ? $1 : undef }

subtest 'the documentation\'s examples' => sub {
    my $c = client($one);
    is said($c, 'doc/new'), 'Thanks for your comment!', 'a comment';
    is said($c->via($two), 'doc/new'), "You've already commented.", 'on the other member';
    is said($c, 'doc/out'), "You're logged out.", 'log-out';
    said($c, 'test-cookie');
    is said($c, 'test-cookie-worked'), 'true', 'the test cookie';
};

subtest 'the admin\'s log-in and log-out' => sub {
    my $c = client($one);
    my $r = $c->get('/app/admin/');
    is $r->status, 302, 'nobody';
    $r = $c->get('/app/admin/login/?next=/app/admin/');
    my $before = $c->copy;
    isnt $before->cookie, undef, 'the token is in the session';
    $r = $c->post('/app/admin/login/?next=/app/admin/',
        'username=ann&password=secret&next=/app/admin/&csrfmiddlewaretoken=' . token($r), $form);
    is $r->status, 302, 'log-in' or diag $r->body;
    isnt $c->cookie, $before->cookie, 'a new id';
    $r = $c->via($two)->get('/app/admin/');
    is $r->status, 200, 'the admin, on the other member';
    like $r->body, qr/<strong>ann<\/strong>/, 'knows who it is';
    is $before->get('/app/admin/')->status, 302, 'the old id is dead';
    like $c->get('/lua/env')->env('MEMSESS_DATA'), qr/(?:^|&)_auth_user_id=1(?:&|$)/, 'as httpd sees it';
    my $old = $c->copy;
    $r = $c->post('/app/admin/password_change/', 'old_password=secret&new_password1=Xsecret99&new_password2=Xsecret99'
        . '&csrfmiddlewaretoken=' . token($c->get('/app/admin/password_change/')), $form);
    is $r->status, 302, 'a changed password' or diag $r->body;
    is $c->get('/app/admin/')->status, 200, 'is no log-out';
    is $old->get('/app/admin/')->status, 302, 'and has a new id';
    $old = $c->copy;
    $r = $c->post('/app/admin/logout/', 'csrfmiddlewaretoken=' . token($c->get('/app/admin/password_change/')), $form);
    is $r->status, 200, 'log-out';
    is $old->get('/app/admin/')->status, 302, 'is one';
};

subtest 'messages' => sub {
    my $c = client($one);
    said($c, 'say');
    is said($c->via($two), 'said'), "info str <b>one</b> \xe2\x98\x83\nx error SafeString <i>two</i>", 'are shown once';
    is said($c, 'said'), '', 'and not again';
};

subtest 'CSRF_USE_SESSIONS' => sub {
    my $c = client($one);
    my $token = said($c, 'form');
    is $c->post('/app/form', '', $form)->status, 403, 'without the token';
    is $c->via($two)->post('/app/form', "csrfmiddlewaretoken=$token", $form)->body, 'posted', 'with it';
    is client($one)->post('/app/form', "csrfmiddlewaretoken=$token", $form)->status, 403, 'with another session\'s';
};

subtest 'set_expiry' => sub {
    my $c = client($one);
    like $c->get('/app/expire?7200')->header('Set-Cookie'), qr/Max-Age=7200/i, 'seconds';
    is said($c, 'age'), 7200, 'which Django knows';
    my $cookie = $c->get('/app/expire?0')->header('Set-Cookie');
    ok $cookie && $cookie !~ /Max-Age/i, '0: until the browser is closed';
};

subtest 'markup, and errors' => sub {
    my $c = client($one);
    said($c, 'safe');
    is said($c, 'is-safe'), 'SafeString', 'a safe string is one';
    is $c->get('/app/broken')->status, 500, 'an exception';
    is said($c, 'get?broken'), 'null', 'saves nothing, as ever in Django';
};

subtest 'Django\'s own cache' => sub {
    my ($ann, $bob) = map { client($one) } 1 .. 2;
    said($ann, 'login?ann');
    said($bob, 'login?bob');
    for (1 .. 2) {
        is said($ann, 'cached'), 'for ann', 'her page';
        is said($bob, 'cached'), 'for bob', 'his page';
    }
    is said($ann, 'counted'), $_, 'what changes the session is not kept' for 1 .. 3;
};

$app->behaves;
