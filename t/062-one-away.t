# One server of a pool is away, in whatever way: every job of every visitor succeeds, on every
# member, and nothing is lost, nor brought back when the server returns.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Faulty;
use MemSess::Test;

my $USERS = 6;    # of each kind, so that each server has data of some of them

my $secret = private_file('062-secret', 'one server away ' x 3);

my $modules = MemSess::Site::query('LIBEXECDIR');
my $form    = join('', map { qq(LoadModule ${_}_module "$modules/mod_$_.so"\n) }
        qw(session request auth_form))
    . qq(LoadModule session_memsess_module "$ENV{MEMSESS_T_ROOT}/../.libs/mod_session_memsess.so"\n)
    . q(
    SessionMemSessCookie form Path=/
    <Location "/form">
        Session On
        SessionMaxAge 600
        MemSess Off
    </Location>
    <Location "/form/login">
        SetHandler form-login-handler
        AuthFormProvider file
        AuthUserFile "${T_DIR}/users"
        AuthType form
        AuthName form
        AuthFormLoginSuccessLocation /form/welcome
    </Location>
    ScriptAlias /form/in/ "${T_ROOT}/cgi-bin/"
    <Location "/form/in">
        AuthFormProvider file
        AuthUserFile "${T_DIR}/users"
        AuthType form
        AuthName form
        AuthFormLoginRequiredLocation /form/please
        Require valid-user
    </Location>
);
# The server that stays is the only one, and is not taken for dead if the machine is slow.
my $config = timing() . "MemSessTimeout 1s\n" . $form . q(
    LoadModule apitest_module "${T_ROOT}/modules/.build/mod_apitest.so"
    <Location "/api">
        SetHandler apitest
    </Location>
    <LocationMatch "/members">
        AuthType MemSess
        MemSessLoginURL /lua/say?back=%s
        Require valid-user
    </LocationMatch>
    <LocationMatch "/role">
        Require memsess role admin
    </LocationMatch>
    <LocationMatch "/lock">
        MemSessLock request
    </LocationMatch>
    <LocationMatch "/nolock">
        MemSessLock none
    </LocationMatch>
    LuaMapHandler ^/(?:members|role|lock|nolock)/lua/(\w+)$ "${T_ROOT}/lua/$1.lua"
);

# Ways to leave and to come back: with the old memory, unless the server was killed.
my %ways = (
    killed  => [sub { $_[0][0]->kill9 }, sub { $_[0][0]->restart }],
    hung    => [sub { $_[0][0]->pause }, sub { $_[0][0]->resume }],
    map { my $mode = $_; $mode => [sub { $_[0][1]->mode($mode) }, sub { $_[0][1]->mode('pass') }] }
        qw(silent garbage closed lag)
);

# Each case: the pool's size, its members' settings, the ways.
my @cases = (
    [2, '', qw(killed hung silent garbage closed)],
    [3, '', qw(killed hung silent lag)],
    [5, '', qw(killed hung)],
    [2, "MemSessSecret file:$secret\n", qw(killed hung)],
    [3, "MemSessSecret file:$secret\nMemSessLocalCache 1M\n", qw(killed silent)],
);
plan tests => scalar(map { @$_[2 .. $#$_] } @cases) + 1;

my $n = 0;

sub where { my ($where, @lines) = @_; return "/$where" . say_via('lua', @lines) }

# The answers other than 200 to requests that are made on the members in turn.
sub failed {
    my ($members, $clients, $target) = @_;
    my @bad;
    for my $c (@$clients) {
        my $r = $c->via($members->[++$n % @$members])->get($target, 'Accept: text/html');
        push @bad, $r->status unless $r->status == 200;
    }
    return \@bad;
}

sub states { my ($m, @c) = @_; return [map { state($_->copy(server => $m->[++$n % @$m])) } @c] }

sub all_in { my ($members, $what, $c, $target) = @_; is_deeply failed($members, $c, $target), [], $what }

# The sessions that exist before the server leaves.
sub before {
    my ($m, $case) = @_;
    my %c = map { my $kind = $_; $kind => [map { started($m->[$_ % @$m], "who=$kind$_") } 1 .. $USERS] }
        qw(guest known twin renewer leaver locker setter caller);
    for my $i (1 .. $USERS) {
        for my $kind (qw(known twin)) {
            my $c = $c{$kind}[$i - 1];
            $c->get(say_via('lua', "MemSess-Set: user=$case$i&role=admin"));
        }
    }
    return %c;
}

# Cookies of sessions that no longer exist; signed if cookies are.
sub yesterdays {
    my ($m, @pool) = @_;
    my @c = map { my $old = started($m); [$old->copy, $old] } 1 .. 2 * $USERS;
    $_->[1]->get(say_via('lua', 'MemSess-Destroy: 1')) for @c;
    for my $server (@pool) {
        $server->delete($_) for $server->keys;
    }
    return map { $_->[0] } @c;
}

sub check_form {
    my ($m) = @_;
    my $c = client($m->[0], name => 'form');
    $c->post('/form/login', 'httpd_username=ann&httpd_password=secret',
        'Content-Type: application/x-www-form-urlencoded');
    ok defined $c->cookie, 'mod_auth_form: a log-in';
    is $c->copy(server => $m->[1])->get('/form/in/env')->status, 200, 'mod_session: there on the other';
    is $c->copy->get('/form/in/env')->status, 200, 'and again';
}

# The C API's answers for each of these clients.
sub calls {
    my ($m, $what, $c, $commands, @answers) = @_;
    my @bodies = map { $c->[$_]->via($m->[++$n % 2])->get('/api?' . $commands->($_))->body } 0 .. $#$c;
    is_deeply \@bodies, [(join "\n", 'open: 0', @answers, '') x @$c], "the C API: $what";
}

sub check_api {
    my ($m, $case, $old, $caller) = @_;
    calls($m, 'what there was', $caller, sub { 'state&incr+n+2&set+a+b&renew&get+n' },
        'state: 1', 'incr: 0 2', 'set: 0', 'renew: 0', 'get: 0 1 2');
    my @c = map { client($m->[0]) } 1 .. 2 * $USERS;
    calls($m, 'first log-ins', \@c, sub { "set+user+api$case-" . $_[0] % $USERS }, 'set: 0');
    calls($m, 'who is logged in', \@c, sub { 'state&get+none' }, 'state: 1', 'get: 1 null');
    my @were = map { $_->copy } @c;
    calls($m, 'the end of all', [@c[0 .. $USERS - 1]], sub { 'everywhere' }, 'everywhere: 0');
    calls($m, 'old cookies', [map { $_->copy } @$old], sub { 'state&get+a' }, 'state: 2', 'get: 1 null');
    return @were;
}

sub away {
    my ($case, $m, $old, %c) = @_;
    my @fresh = map { client($m->[$_ % 2]) } 1 .. 2 * $USERS;
    all_in($m, 'new sessions', \@fresh, say_via('lua', 'MemSess-Set: new=1'));
    is_deeply [map { data($_) } @fresh], [('new=1') x @fresh], 'which are there';
    my @first = map { client($m->[$_ % 2]) } 1 .. $USERS;
    is_deeply [map { $first[$_]->get(say_via('lua', "MemSess-Set: user=first$case$_"))->status }
        0 .. $#first], [(200) x @first], 'first log-ins';
    all_in($m, 'which are let in', \@first, '/members/lua/env');
    is_deeply [map { $c{guest}[$_ - 1]->via($m->[$_ % 2])
        ->get(say_via('lua', "MemSess-Set: user=guest$case$_", 'MemSess-Renew: 1'))->status } 1 .. $USERS],
        [(200) x $USERS], 'log-ins in a session that there was';
    all_in($m, 'which are let in', $c{guest}, '/members/lua/env');
    my @again = map { client($m->[$_ % 2]) } 1 .. $USERS;
    is_deeply [map { $again[$_ - 1]->get(say_via('lua', "MemSess-Set: user=$case$_"))->status }
        1 .. $USERS], [(200) x $USERS], 'log-ins of users who have another session';
    all_in($m, 'which are let in', \@again, '/members/lua/env');
    all_in($m, 'who was logged in is let in', $c{known}, '/members/lua/env');
    all_in($m, 'Require memsess', $c{known}, '/role/lua/env');
    all_in($m, 'Renew', $c{renewer}, say_via('lua', 'MemSess-Renew: 1'));
    is_deeply states($m, @{ $c{renewer} }), [('active') x $USERS], 'which goes on';
    all_in($m, 'MemSessLock request', $c{locker}, where('lock', 'MemSess-Incr: n=1')) for 1, 2;
    all_in($m, 'MemSessLock none', $c{setter}, where('nolock', 'MemSess-Set: n=2')) for 1, 2;
    is_deeply [map { data($_) =~ /n=2/ ? 1 : 0 } @{ $c{locker} }, @{ $c{setter} }],
        [(1) x (2 * $USERS)], 'all changes are there';
    my @left = map { $_->copy } @{ $c{leaver} };
    all_in($m, 'log-out', $c{leaver}, say_via('lua', 'MemSess-Destroy: 1'));
    is_deeply states($m, @left), [('unknown') x @left], 'which is final';
    my @ended = map { $_->copy } @{ $c{known} }, @{ $c{twin} }, @again;
    all_in($m, 'Destroy: all', $c{known}, say_via('lua', 'MemSess-Destroy: all'));
    ok wait_for(20, sub { !grep { ($_ // '') ne 'unknown' } @{ states($m, @ended) } }), 'ends the others too';
    is_deeply states($m, @$old), [('unknown') x @$old], 'old cookies are unknown';
    my @r = map { $_->copy(server => $m->[++$n % 2])->get('/members/lua/env', 'Accept: text/html') } @$old;
    is_deeply [map { $_->status } @r], [(302) x @r], 'and lead to the log-in page';
    is_deeply [map { $_->copy->get(say_via('lua', 'MemSess-Set: user=old' . ++$n))->status } @$old],
        [(200) x @$old], 'where they can log in';
    check_form($m);
    push @ended, check_api($m, $case, $old, $c{caller});
    return ([@fresh, @{ $c{caller} }, @first, @{ $c{guest} }, @{ $c{renewer} }, @{ $c{locker} }, @{ $c{setter} }],
        [@left, @ended]);
}

for (@cases) {
    my ($size, $settings, @ways) = @$_;
    my @pool   = pool($size);
    my @faulty = map { MemSess::Faulty->start($_) } @pool;
    my @names  = map { $faulty[$_]->address . "?name=s$_" } 0 .. $#pool;
    my @m = map { MemSess::Member->start(servers => \@names, config => $config . $settings) } 1, 2;
    for my $member (@m) {
        open my $users, '>', $member->dir . '/users' or die $!;
        print $users 'ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', "\n";
    }
    for my $way (@ways) {
        my $victim = $n % $size;
        my $what = sprintf '%d servers%s, one %s', $size, $settings =~ /Cache/ ? ', sealed and cached'
            : $settings ? ', sealed' : '', $way;
        subtest $what => sub {
            my @old = yesterdays($m[0], @pool);
            my %c = before(\@m, ++$n);
            my @it = ($pool[$victim], $faulty[$victim]);
            $ways{$way}[0]->(\@it);
            # Repeats until all members have seen it.
            state($_->copy(server => $m[0])), state($_->copy(server => $m[1])) for map { @$_ } values %c;
            my ($alive, $dead) = away($n, \@m, \@old, %c);
            $ways{$way}[1]->(\@it);
            ok wait_for(20, sub { !grep { $_ ne 'active' } @{ states(\@m, @$alive) } }), 'back';
            settle();
            for my $round (1, 2) {
                is_deeply states(\@m, @$alive), [('active') x @$alive],
                    "back: who was there is, $round";
                is_deeply states(\@m, @$dead), [('unknown') x @$dead],
                    "back: who was not is not, $round";
            }
        };
    }
    $_->stop for @m, @faulty, @pool;
}

subtest 'the only copy is on the server that is away' => sub {
    my @pool = pool(3);
    my @m = map { MemSess::Member->start(servers => \@pool, config => $config) } 1, 2;
    my ($c, $mark, @home) = marked($m[0], @pool);
    $home[1][0]->delete($home[1][1]);
    $home[0][0]->pause;
    for my $m (@m, @m) {
        my $r = $c->copy(server => $m)->get('/lua/env');
        is $r->env('MEMSESS_STATE'), 'unknown', 'it is not there';
        is scalar($r->header('Set-Cookie')), '', 'and nothing is said of its cookie';
    }
    $home[0][0]->resume;
    settle();
    is state($c->copy(server => $_)), 'active', 'it is there again' for @m, @m;
    ok repaired($c, $mark, 2, @pool), 'on two servers';
};
