# If two attributes would have the same variable, neither has one; and data that is too long for a
# variable comes in parts.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::FastCGI;
use MemSess::Site;
use MemSess::Test;

plan tests => 7;

my $memcached = MemSess::Memcached->start;
my $fcgi      = MemSess::FastCGI->start;
my $modules   = MemSess::Site::query('LIBEXECDIR');
my $m = MemSess::Member->start(servers => [$memcached], config => qq(
    LoadModule proxy_fcgi_module "$modules/mod_proxy_fcgi.so"
    ProxyPass /fcgi/ fcgi://127.0.0.1:@{[ $fcgi->port ]}/
    ) . q(
    MemSessMaxSize 2000000
    MemSessUserSessions 100
    <Location /fcgi/list>
        MemSessExpose env user-sessions
    </Location>
    <Location /app>
        MemSessWritebackKeys user-*
    </Location>
    ScriptAlias /app/ "${T_ROOT}/cgi-bin/"
    <LocationMatch /keys>
        MemSessExposeKeys user_role other
    </LocationMatch>
    <Location /fcgi/headers>
        MemSessExpose headers
    </Location>
    <LocationMatch /require>
        Require memsess user_role guest
    </LocationMatch>
    <LocationMatch /cgi/env$>
        MemSessExpose env headers
    </LocationMatch>
));

sub attrs { return {$_[0]->body =~ /^MEMSESS_ATTR_(\w+)=(.*)$/mg} }

subtest 'names that collide have no variable' => sub {
    my $c = started($m, 'user_role=guest&other=1');
    is_deeply attrs($c->get('/cgi/env')), { user_role => 'guest', other => 1 }, 'before';
    # This program may only write user-*.
    $c->get('/app/say?' . escape("MemSess-Set: user-role=admin\nContent-Type: text/plain\n\nsaid"));
    for my $path (qw(/cgi/env /fcgi/x)) {
        my $r = $c->get($path);
        is_deeply attrs($r), { other => 1 }, "$path: neither has one";
        is $r->env('MEMSESS_DATA'), 'other=1&user-role=admin&user_role=guest', "$path: the data has both";
    }
    is scalar($c->get('/proxy/echo')->echoed('MemSess-Data')),
        'other=1&user-role=admin&user_role=guest', 'so have headers';
    is $c->get('/cgi/env/require')->status, 200, 'Require tells them apart';
    is_deeply attrs($c->get('/cgi/env/keys')), { user_role => 'guest', other => 1 },
        'what is not exposed collides with nothing';
};

subtest 'in every way that names can collide' => sub {
    for (['a.b=1&a-b=2', {}], ['Role=1&role=2', {}], ['a.b=1&A_B=2&a_B=3', {}], ['a.=1&a_=2&b=3', { b => 3 }],
         ['a-b=%01&a_b=2', { a_b => 2 }], ['a-b=1', { a_b => 1 }],
         ['ROLE=1&roles=2', { ROLE => 1, roles => 2 }],
         [join('&', map { ("n-$_=1", "n_$_=2", "m-$_=3") } 1 .. 50), { map { ("m_$_" => 3) } 1 .. 50 }]) {
        my ($form, $wanted) = @$_;
        my $c = started($m, $form);
        is_deeply attrs($c->get('/cgi/env')), $wanted, substr $form, 0, 30;
    }
};

subtest 'very many of them take no time' => sub {
    my $c = client($m);
    for my $k (0 .. 19) {
        $c->get(say_via('lua', 'MemSess-Set: ' . join '&',
            map { my $n = 500 * $k + $_; ("n-$n=1", "n_$n=1") } 0 .. 499));
    }
    my $start = time;
    is_deeply attrs($c->get('/lua/env')), {}, 'none has a variable';
    cmp_ok time - $start, '<', 10, 'at once';
};

sub joined {
    my ($r) = @_;
    my $parts = $r->env('MEMSESS_DATA_PARTS') // return;
    my @parts = map { $r->env("MEMSESS_DATA_$_") // '' } 1 .. $parts;
    is scalar(grep { length > 16000 } @parts), 0, 'no part is longer than 16,000 bytes';
    is scalar(grep { length == 16000 } @parts[0 .. $#parts - 1]), $#parts, 'nor shorter than need be';
    is scalar(() = $r->body =~ /^MEMSESS_DATA_\d+=/mg), $parts, 'and there are no more';
    return join '', @parts;
}

subtest 'data in parts' => sub {
    for my $size (15000, 15996, 15997, 15998, 31996, 40000, 120000) {
        my $c = client($m);
        my ($v, $w) = ('x' x ($size > 60000 ? 60000 : $size), 'y' x ($size > 60000 ? $size - 60000 : 1));
        set_via($c, "v=$v", 'lua');
        set_via($c, "w=$w", 'lua');
        my $data = "v=$v&w=$w";
        for my $path ('/cgi/env', '/fcgi/x') {
            my $r = $c->get($path);
            is $r->env('MEMSESS_STATE'), 'active', "$size, $path: it is there";
            if (length $data <= 16000) {
                is $r->env('MEMSESS_DATA_PARTS'), undef, "$size, $path: no parts";
                is $r->env('MEMSESS_DATA_1'), undef, "$size, $path: not even one";
            }
            else {
                ok joined($r) eq $data, "$size, $path: joined they are the data";
            }
            ok $r->env('MEMSESS_DATA') eq $data, "$size: which is there too" if $path eq '/cgi/env';
        }
        is $c->get('/cgi/env/keys')->env('MEMSESS_DATA_PARTS'), undef, 'a narrower section has none';
    }
    my $c = client($m);
    set_via($c, 'v=' . '%01' x 6000, 'lua');
    ok joined($c->get('/cgi/env')) eq 'v=' . '%01' x 6000, 'what counts is the length in form encoding';
};

subtest 'longer than a program can have as one variable' => sub {
    my $c = client($m);
    my $value = 'y' x 60000;
    set_via($c, "big=$value", 'lua');
    set_via($c, "big$_=$value", 'lua') for 2 .. 4;
    my $data = join '&', map { "big$_=$value" } '', 2 .. 4;
    my $r = $c->get('/cgi/env');
    is $r->status, 200, 'the program runs' or diag substr $r->{raw}, 0, 1000;
    ok joined($r) eq $data, 'and has the data in parts';
    is $r->env('MEMSESS_DATA'), undef, 'but not as one';
    is length($r->env('MEMSESS_ATTR_big4')), 60000, 'and what fits';
    ok $c->get('/lua/env')->env('MEMSESS_DATA') eq $data, 'a handler in httpd has it as one';
    my $mark = $m->log->mark;
    $c->get('/cgi/env');
    ok $m->log->wait_for(qr/MEMSESS_DATA is left out.*MEMSESS_DATA_1/, $mark), 'the log says so';
};

subtest 'longer than FastCGI takes as one variable' => sub {
    my $c = client($m);
    # mod_proxy_fcgi's records have 16 kB, of which 5 bytes are the lengths of name and value.
    my $most = 16384 - 5 - length('MEMSESS_DATA') - length('v=');
    set_via($c, 'v=' . 'x' x $most, 'lua');
    my $mark = $m->log->mark;
    my $r = $c->get('/fcgi/x');
    is length($r->env('MEMSESS_DATA')), $most + 2, 'what just fits is there';
    unlike $m->log->text($mark), qr/left out/, 'and nothing is said';
    set_via($c, 'v=' . 'x' x ($most + 1), 'lua');
    $mark = $m->log->mark;
    $r = $c->get('/fcgi/x');
    is $r->env('MEMSESS_DATA'), undef, 'a byte more does not';
    is length(joined($r)), $most + 3, 'but for the parts';
    my $id = $r->env('MEMSESS_ID');
    ok $m->log->wait_for(qr/memsess:warn.*session \Q$id\E: MEMSESS_DATA is left out.*MEMSESS_DATA_1.*MemSessExposeKeys/, $mark),
        'the log names the session, and says what to do';
    unlike $m->log->text($mark), qr/proxy_fcgi:warn/, 'once';
    $mark = $m->log->mark;
    is $c->get('/fcgi/headers')->env('HTTP_MEMSESS_DATA'), undef, 'a header has no parts';
    ok $m->log->wait_for(qr/memsess:warn.*session \Q$id\E: MemSess-Data is left out/, $mark), 'which is said, too';
};

subtest "a list of a user's sessions that FastCGI does not take" => sub {
    my $c = started($m, 'user=many&label=' . 'x' x 120);
    like $c->get('/fcgi/list/x')->env('MEMSESS_USER_SESSIONS'), qr/^\[\{"id"/, 'a short one is there';
    started($m, 'user=many&label=' . 'x' x 120) for 1 .. 80;
    my $mark = $m->log->mark;
    my $r = $c->get('/fcgi/list/x');
    is $r->env('MEMSESS_USER_SESSIONS'), undef, 'a long one is not';
    is $r->env('MEMSESS_STATE'), 'active', 'the rest is';
    ok $m->log->wait_for(qr/memsess:warn.*MEMSESS_USER_SESSIONS is left out.*MemSessUserSessions/, $mark),
        'the log says so';
};
$m->stop;
