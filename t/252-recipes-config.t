# The recipes of examples/ that are only configuration, or a script; and examples/run, which runs
# them all.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use IO::Socket::INET;
use MemSess::Process qw(wait_for);
use MemSess::Recipe;
use MemSess::Test;

plan tests => 8;

subtest 'rewrite' => sub {
    my ($m) = MemSess::Recipe->start('rewrite', members => 1)->members;
    my ($nobody, $ann, $admin) = (client($m), started($m, 'user=ann'),
        started($m, 'user=eve&role=admin'));
    is location($nobody->get('/members/')), '/login.html', 'members: nobody is sent to log in';
    is $ann->get('/members/')->body, "For members.\n", 'members: a member comes in';
    is location($nobody->get('/home')), '/login.html', 'home of nobody';
    is location($ann->get('/home')), '/members/?user=ann', 'home of a member';
    is location(started($m, 'user=A%26b')->get('/home')), '/login.html', 'home of an odd name';
    is $_->get('/admin/')->status, 403, 'admin: refused' for $nobody, $ann;
    my $r = $admin->get('/admin/');
    is $r->body, "For administrators.\n", 'admin: the role comes in';
    is scalar($r->header('Cache-Control')), 'private', 'and not into shared caches';
    like scalar($r->header('Vary')), qr/Cookie/, 'nor for another cookie';
};

subtest 'ssi' => sub {
    my ($m) = MemSess::Recipe->start('ssi', members => 1)->members;
    like client($m)->get('/page.shtml')->body, qr{<p>Hello stranger\.</p>}, 'nobody';
    like started($m, 'user=%3Cann%3E')->get('/page.shtml')->body, qr{<p>Hello &lt;ann&gt;\.</p>},
        'a user, escaped';
};

subtest 'logs' => sub {
    my ($m) = MemSess::Recipe->start('logs', members => 1)->members;
    my %log = map { $_ => MemSess::Log->new($m->dir . "/$_.log") } qw(access users odd);
    my $ann = started($m, 'user=ann');
    my $id = $ann->get('/lua/env')->env('MEMSESS_ID');
    $ann->get('/plain.txt?ann');
    client($m)->get('/plain.txt?nobody');
    client($m)->set_cookie('A' x 24)->get('/plain.txt?odd');
    ok $log{access}->wait_for(qr{\?ann HTTP/1.1" 200 \d+ session=\Q$id\E state=active$}m),
        'the id of a session';
    ok $log{access}->wait_for(qr{\?nobody HTTP/1.1" 200 \d+ session=- state=none$}m), 'or none';
    ok $log{users}->wait_for(qr{^ann \[.*\?ann HTTP/1.1" 200 session=\Q$id\E$}m),
        'users come first in their log';
    ok $log{odd}->wait_for(qr{\?odd HTTP/1.1".* state=unknown$}m), 'odd cookies';
    unlike $log{users}->text, qr/nobody|odd/, 'no users: not in the log of users';
    unlike $log{odd}->text, qr/\?ann|nobody/, 'not odd: not in that of the odd';
};

subtest 'require' => sub {
    my ($m) = MemSess::Recipe->start('require', members => 1)->members;
    my ($nobody, $ann, $eve) = (client($m), started($m, 'user=ann&role=guest'),
        started($m, 'user=eve&role=board'));
    is lc location($nobody->get('/members/', 'Accept: text/html')),
        '/login.html?back=%2fmembers%2f', 'nobody is sent to log in';
    is $nobody->get('/login.html')->status, 200, 'and gets there';
    is $_->get('/members/')->body, "For members.\n", 'members come in' for $ann, $eve;
    is $ann->get('/members/board/')->status, 403, 'not the board';
    is $eve->get('/members/board/')->body, "For the board.\n", 'the board';
};

subtest 'devices' => sub {
    my ($m, $other) = MemSess::Recipe->start('devices')->members;
    my $form = 'Content-Type: application/x-www-form-urlencoded';
    my $log_in = sub {
        my ($name, $agent) = @_;
        my $c = client($m);
        is location($c->post('/devices/login', "user=$name", $form, "User-Agent: $agent")),
            '/devices', "$agent: logged in";
        return $c;
    };
    my $c;
    my $page = sub { $_[0]->via($other)->get('/devices')->body };
    my $word = sub { $page->($_[0]) =~ /name="csrf" value="(\w{32})"/ ? $1 : '' };
    my $id = sub { $page->($c) =~ /<td>\Q$_[0]\E.*?value="([\w-]{16})"/ ? $1 : '' };
    my $end = sub { my ($c, $what, $word) = @_;
        return $c->via($m)->post('/devices/end', "end=$what" . ($word ? "&csrf=$word" : ''), $form) };
    like client($m)->get('/devices')->body, qr{action="/devices/login"}, 'nobody is asked who it is';

    my $phone = $log_in->('ann', 'phone');
    my $odd   = $log_in->('ann', qq(<img src=x> "&\xc3\xa4));
    my $eve   = $log_in->('eve', 'eve');
    $c = $log_in->('ann', 'laptop');
    my $shown = $page->($c);
    is scalar(() = $shown =~ /<tr><td>/g), 3, 'her three, on the other member too';
    is scalar(() = $shown =~ /this one/g), 1, 'one is this one';
    like $shown, qr/<td>laptop <b>\(this one\)/, 'and that is right';
    unlike $shown, qr/<img/, 'what clients say of themselves is no markup';
    like $shown, qr/<td>&#60;img src&#61;x&#62; &#34;&#38;&#228;</, 'but text';

    for my $wrong (undef, 'x', $word->($eve)) {
        is $end->($c, $_, $wrong)->status, 403, "end=$_ with a wrong word" for qw(others this);
        is state($phone), 'active', 'ends nobody';
    }
    my $own = $word->($c);
    is $end->($c, $_, $own)->status, 422, "end=$_: refused" for '', 'a%0AX: y', '1';
    $end->($c, $id->('phone'), $own);
    is join(' ', map { state($_) } $phone, $odd, $c, $eve), 'unknown active active active',
        'one is ended';
    my $stolen = $c->copy;
    $end->($c, 'others', $own);
    is join(' ', map { state($_) } $odd, $stolen, $c, $eve), 'unknown unknown active active',
        'all others';
    is scalar(() = $page->($c) =~ /<tr><td>/g), 1, 'this one is left';
    my $before = $word->($c);
    $c->post('/devices/login', 'user=ann', $form);
    isnt $word->($c), $before, 'a log-in brings another word';
    ok clears_cookie($end->($c, 'this', $word->($c))), 'and this one';
    my $plain = started($m, 'user=ann');
    is $end->($plain, 'others', '')->status, 403, 'who logged in elsewhere has no word yet';
    is location($end->($plain, 'others', $word->($plain))), '/devices', 'but gets one';
};

subtest 'form' => sub {
    my ($one, $two) = MemSess::Recipe->start('form')->members;
    my $c = client($one, name => 'login');
    my $form = 'Content-Type: application/x-www-form-urlencoded';
    is location($c->get('/private/')), '/login.html', 'nobody is sent to log in';
    is location($c->post('/dologin', 'httpd_username=ann&httpd_password=wrong', $form)),
        '/login.html', 'a wrong password';
    is location($c->post('/dologin', 'httpd_username=ann&httpd_password=test', $form)), '/private/',
        'the right one';
    like $c->get('/private/')->body, qr/^For users/, 'comes in';
    like $c->via($two)->get('/private/')->body, qr/^For users/, 'on the other member too';
    my $old = $c->copy;
    is location($c->get('/logout')), '/login.html', 'log-out';
    is location($old->via($one)->get('/private/')), '/login.html', 'for good';
};

subtest 'cgi: the counter in sh' => sub {
    my ($one, $two) = MemSess::Recipe->start('cgi')->members;
    my $c = client($one);
    is $c->get('/count')->body, "earlier visits: 0\nsession: none\n", 'the first visit';
    is $c->via($two)->get('/count')->body, "earlier visits: 1\nsession: active\n",
        'the second, on the other member';
};

subtest 'examples/run' => sub {
    my $script = MemSess::Site::top() . '/examples/run';
    my $list = `$script`;
    is $?, 0, 'without a name it lists';
    for (glob MemSess::Site::top() . '/examples/*/site.conf') {
        my ($name) = m{([^/]+)/site\.conf$};
        like $list, qr/^  \Q$name\E +[A-Z].{10,}\.$/m, "$name, and what it is";
        ok MemSess::Recipe::says($name, 'Page') && MemSess::Recipe::says($name, 'Try'), "$name: what to try";
    }
    like $list, qr/^  php .*\n +Packages: php-cgi\b/m, 'and what it needs';
    like `$script nosuch 2>&1`, qr/There is no recipe nosuch.*^  ssi /ms, 'an unknown name';
    isnt $?, 0, 'is an error';

    my $run = bless {log => "t/logs/examples-run-$$.log", stop_signal => 'INT',
        command => [$script, 'ssi']}, 'MemSess::Process';
    $run->launch;
    ok wait_for(60, sub { !$run->alive || $run->output =~ /Ctrl-C/ }) && $run->alive, 'runs'
        or diag $run->output;
    my ($one, $two) = map { bless {port => $_}, 'MemSess::Member' }
        $run->output =~ m{^  http://127\.0\.0\.1:(\d+)/page\.shtml$}mg;
    is location(client($one)->get('/')), '/page.shtml', 'the root leads to the page';
    # curl itself hangs with the sanitizers' libraries.
    delete local $ENV{LD_PRELOAD};
    my @said = map { scalar `$_` } $run->output =~ /^  (curl .*)$/mg;
    like $said[0], qr/Hello stranger\./, 'the first command that it says';
    like $said[2], qr/Hello ann\./, 'the last, on the other member';
    unlink 'jar';
    ok $run->stop, 'and ends';
    ok !IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $_->port), 'wholly'
        for $one, $two;
};

sub location { (scalar $_[0]->header('Location')) =~ s{^http://[^/]+}{}r }
