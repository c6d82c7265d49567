# Answers that come late: what a browser is told for an old cookie does not take a newer one away.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;

plan tests => 7;

my @pool = pool(2);
my $secret = private_file('300.secret', 's' x 40);

my @m = map { MemSess::Member->start(servers => \@pool, config => timing() . <<"END") } 1 .. 2;
<LocationMatch /short>
    MemSessIdleTimeout 20s
</LocationMatch>
<LocationMatch /scope>
    MemSessCookie memsess Path=/scope Domain=example.com
</LocationMatch>
ScriptAlias /scope/ "\${T_ROOT}/cgi-bin/"
<Location /members>
    AuthType MemSess
    MemSessLoginURL /login
    Require valid-user
</Location>
ScriptAlias /members/ "\${T_ROOT}/cgi-bin/"
END
my $signed = MemSess::Member->start(servers => \@pool,
    config => timing() . "MemSessSecret file:$secret\n");

sub log_in { return say_via($_[0] // 'cgi', 'MemSess-Set: user=ann', 'MemSess-Renew: 1') }

subtest 'a poll that is answered after the log-in' => sub {
    for my $where (qw(cgi lua proxy)) {
        my $jar  = started($m[0], 'cart=1');
        my $old  = $jar->copy;
        my $poll = slow($jar, 'cgi');
        is $jar->get(log_in($where))->status, 200, "$where: logged in";
        my $cookie = $jar->cookie;
        ok leaves_cookie($poll->()), 'the poll was answered after it';
        # Other requests come with the old cookie, but are answered later.
        my $late = background($old->copy(server => $m[1]), '/cgi/env')->wait;
        is $late->env('MEMSESS_STATE'), 'unknown', 'one that came later is of no session';
        $jar->keep($_) for $late->header('Set-Cookie');
        is $jar->cookie, $cookie, 'the cookie of the log-in stays';
        is data($jar->copy(server => $_)), 'cart=1&user=ann', 'and she is logged in' for @m;
    }
};

subtest 'unknown, expired and invalid leave it alone' => sub {
    my $expired = started($m[0], 'a=1');
    let_pass(21);
    my %of = (
        unknown => [client($m[0])->set_cookie('A' x 24), ''],
        expired => [$expired, '/short'],
        invalid => [client($m[0])->set_cookie('nonsense'), ''],
    );
    for my $state (sort keys %of) {
        my ($c, $path) = @{ $of{$state} };
        my $cookie = $c->cookie;
        for my $target ("/cgi/env$path", "/no/such/file$path", say_via("lua$path"),
            say_via("proxy$path", 'Status: 302', 'Location: /elsewhere'),
            $state eq 'expired' ? () : say_via("cgi$path", 'MemSess-Destroy: 1'),
            say_via("cgi$path", 'MemSess-Unset: a'), say_via("cgi$path", 'MemSess-Renew: 1'),
            '/members/env') {
            ok leaves_cookie($c->get($target)), "$state: " . substr $target, 0, 30;
        }
        is $c->get("/cgi/env$path")->env('MEMSESS_STATE'), $state, "$state: still so";
        is $c->get(say_via("cgi$path", 'MemSess-Set: a=2'))->status, 200, "$state: a write";
        isnt $c->cookie, $cookie, 'begins a session, whose cookie takes its place';
        is data($c), 'a=2', 'with nothing of the old one';
    }
    my $c = started($signed, 'a=1');
    (my $forged = $c->cookie) =~ s/(.)$/$1 eq 'A' ? 'B' : 'A'/e;
    my $r = client($signed)->set_cookie($forged)->get('/cgi/env');
    is $r->env('MEMSESS_STATE'), 'invalid', 'forged';
    ok leaves_cookie($r), 'stays, too';
};

subtest 'Destroy clears it, in the scope of the section' => sub {
    my $c = started($m[0], 'a=1');
    my $r = $c->copy->get(say_via('scope', 'MemSess-Destroy: 1'));
    my @set = grep { /^memsess=;/ } $r->header('Set-Cookie');
    is scalar @set, 1, 'one cookie is cleared';
    like $set[0], qr/; Path=\/scope;/, 'with the Path of this section';
    like $set[0], qr/; Domain=example\.com;/, 'and its Domain';
    is state($c), 'unknown', 'the session is over';
    for my $end ('MemSess-Destroy: 1', 'MemSess-Destroy: all') {
        $c = started($m[0], 'user=ann');
        ok clears_cookie($c->get(say_via('cgi', $end))), $end;
    }
};

subtest 'a log-out that is clicked twice' => sub {
    my $jar = started($m[0], 'user=ann');
    my $second = slow($jar, 'cgi', 'MemSess-Destroy: 1');
    my $third  = $jar->copy;
    ok clears_cookie($jar->get(say_via('cgi', 'MemSess-Destroy: 1'))), 'the first ends it';
    $jar->get(log_in());
    my $cookie = $jar->cookie;
    is $second->()->status, 200, 'the second one is answered after the next log-in';
    ok leaves_cookie($third->get(say_via('lua', 'MemSess-Destroy: 1'))), 'and a third one';
    is $jar->cookie, $cookie, 'which loses nothing';
    is data($jar), 'user=ann', 'she stays logged in';
};

subtest 'a log-out where the session has expired ends it everywhere' => sub {
    my $c = started($m[0], 'a=1');
    my $old = $c->copy;
    let_pass(21);
    is $c->copy->get('/cgi/env/short')->env('MEMSESS_STATE'), 'expired', 'over in one section';
    ok clears_cookie($c->get(say_via('cgi/short', 'MemSess-Destroy: 1'))), 'logged out there';
    is state($old->copy(server => $_)), 'unknown', 'over in the others, too' for @m;
};

subtest 'a password changed elsewhere: all sessions of the user ended' => sub {
    my ($here, $there) = map { started($m[0], 'user=cleo') } 1, 2;
    my $poll = slow($here, 'cgi');
    $there->get(say_via('cgi', 'MemSess-Destroy: all'));
    my $old = $here->copy;
    $here->get(log_in());
    my $cookie = $here->cookie;
    $poll->();
    ok leaves_cookie($old->get('/cgi/env')), 'an old cookie is left alone';
    is $here->cookie, $cookie, 'so the new log-in stays';
    is data($here), 'user=ann', 'and is good';
};

subtest 'fewer answers with Set-Cookie: caches keep what an old cookie gets' => sub {
    for my $cookie ('A' x 24, 'nonsense') {
        my $r = client($m[0])->set_cookie($cookie)
            ->get(say_via('cgi', 'Cache-Control: max-age=60'));
        ok leaves_cookie($r), 'no cookie';
        unlike $r->header('Cache-Control') // '', qr/private|no-store/, 'nothing private';
    }
};
