# MemSessRenew, and the answer with the new id is lost: the old id leads to the session, and every
# answer brings the new cookie again, until 10 s after the new cookie was first used.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MIME::Base64 qw(decode_base64url);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;

my %variants = (
    plain           => '',
    'a secret'      => secret(),
    'a local cache' => secret() . "MemSessLocalCache 1M\n",
    'a lock'        => "MemSessLock request\n",
    'none'          => "MemSessLock none\n",
);
my @variants = sort keys %variants;
plan tests => 4 * @variants + 9;

sub secret {
    my $file = "$ENV{MEMSESS_T_ROOT}/logs/301.secret";
    open my $out, '>', $file or die $!;
    chmod 0600, $file;
    print $out 'r' x 40;
    close $out;
    return "MemSessSecret file:$file\n";
}

my @pool = pool(2);

sub member {
    my ($config, %how) = @_;
    return MemSess::Member->start(servers => $how{servers} // \@pool, clock => $how{clock},
        config => timing() . $config . <<'END');
<LocationMatch /renew>
    MemSessRenew 1s
</LocationMatch>
<LocationMatch /often>
    MemSessRenew 200ms
</LocationMatch>
ErrorDocument 404 /lua/env
END
}

my %m = map { my $config = 'MemSessNamespace ' . tr/ /-/r . "\n$variants{$_}";
    $_ => [map { member($config) } 1, 2] } @variants;
my @plain = @{ $m{plain} };

# A client whose id has just changed, by an answer that it never got.
sub renewed_in_vain {
    my ($m, $where) = @_;
    my $jar = started($m, 'n=0&who=ann');
    let_pass(1.1);
    my $told = $jar->copy->get($where // '/cgi/env/renew');
    my ($new) = map { /^memsess=([^;]*)/ } $told->header('Set-Cookie');
    isnt id_of($new), id_of($jar->cookie), 'renewed, and the answer is lost';
    return ($jar, id_of($new));
}

# The id that an answer sets; none if it sets no cookie.
sub told { my ($r) = @_; my ($cookie) = map { /^memsess=([^;]*)/ } $r->header('Set-Cookie');
    return defined $cookie ? id_of($cookie) : 'none' }

# ---- the new one was never used ----

my %lost;
subtest 'answers are lost' => sub {
    for my $variant (@variants) {
        $lost{$variant} = [renewed_in_vain($m{$variant}[0])];
    }
    # A client that disconnected during the request.
    my $jar = started($plain[0], 'n=0&who=ann');
    let_pass(1.1);
    goes_away($jar, '/cgi/env/renew');
    my $r;
    ok wait_for(20, sub { told($r = $jar->copy->get('/lua/env')) ne 'none' }), 'one that goes away';
    is $r->env('MEMSESS_STATE'), 'active', 'has its session';
};
my $lost_at = now;

subtest 'what lies in memcached tells nobody the new id' => sub {
    my ($jar, $new) = @{ $lost{plain} };
    for my $server (@pool) {
        my $all = join '|', %{ items($server) };
        for my $id ($new, id_of($jar->cookie)) {
            is index($all, $id), -1, 'not the id';
            is index($all, decode_base64url($id)), -1, 'nor its bytes';
            is index($all, unpack 'H*', decode_base64url($id)), -1, 'nor as digits';
        }
    }
};

for my $variant (@variants) {
    my @m = @{ $m{$variant} };
    subtest "$variant: every answer brings it again, whatever it is" => sub {
        my ($jar, $new) = @{ $lost{$variant} };
        # This is longer than an id lives after its successor was used.
        until_after($lost_at, 12);
        my $n = 0;
        for my $m (@m) {
            my %answers = (
                'reading'    => '/cgi/env',
                'writing'    => say_via('cgi', 'MemSess-Incr: n=1'),
                'an error'   => '/no/such/page',
                'a redirect' => say_via('lua', 'Status: 302', 'Location: /elsewhere'),
                'under the same MemSessRenew' => '/cgi/env/renew',
            );
            for my $what (sort keys %answers) {
                my $old = $jar->copy(server => $m);
                my $r = $old->get($answers{$what});
                is told($r), $new, $what;
                is scalar(my @all = $r->header('Set-Cookie')), 1, "$what: one cookie";
                $n++ if $what eq 'writing';
            }
            like data($jar->copy(server => $m)), qr/^n=$n&who=ann$/, 'of the session as it is';
        }
        my @all = together(map { [$jar->copy(server => $m[$_ % 2]),
            say_via('cgi/renew', 'MemSess-Incr: n=1')] } 1 .. 6);
        is_deeply [map { told($_) } @all], [($new) x 6], 'several at the same time, too';
        is data($jar->copy), "n=@{[ $n + 6 ]}&who=ann", 'which lose nothing';
    };
}

# ---- from the first use on ----

# These requests come while their id is good, before and after it is renewed, and last longer than
# it lives.
my $slow_jar = started($plain[0], 'n=0');
my @slow     = slowly_counting();
let_pass(1.1);
my $slow_new = told($slow_jar->copy->get('/cgi/env/renew'));
push @slow, slowly_counting();
data($slow_jar->copy(cookie => $slow_new));
my $slow_since = now;

sub slowly_counting {
    return map { slow($slow_jar->copy(server => $_), 'cgi', 'MemSess-Incr: n=1') } @plain;
}

subtest 'a slow request changes the session, though its id is dead by now' => sub {
    # memcached counts whole seconds, and may be one second behind.
    until_after($slow_since, 12.5);
    is state($slow_jar->copy(server => $_)), 'unknown', 'it is dead' for @plain;
    for (@slow) {
        my $r = $_->();
        is $r->status, 200, 'answered';
        is told($r), $slow_new, 'with the new cookie';
    }
    is data($slow_jar->copy(cookie => $slow_new)), 'n=4', 'nothing is lost';
};

for my $variant (@variants) {
    my @m = @{ $m{$variant} };
    my ($jar, $new) = @{ $lost{$variant} };
    my $next = $jar->copy;
    my ($before, $since);
    subtest "$variant: the first use is written once" => sub {
        $before = now;
        $next->get('/cgi/env');
        is id_of($next->cookie), $new, 'the browser has it now';
        my $come = sub { my ($m) = @_; return sub { $next->via($m)->get('/cgi/env') } };
        cmp_ok sum(map { $_->during($come->($m[1]), 'cmd_set') } @pool), '>', 0,
            'the first request that comes with it says so';
        $since = now;
        # Later requests write nothing but the lock, if there is one.
        for my $m ($variant eq 'a lock' ? () : @m) {
            is sum(map { my $server = $_; $server->writes($come->($m)) } @pool), 0,
                'later ones write nothing';
        }
        is told($jar->copy(server => $_)->get('/lua/env')), $new, 'the old one still leads there'
            for @m;
    };

    subtest "$variant: the old id lives for 10 s more" => sub {
        until_after($before, 6);
        is told($jar->copy(server => $_)->get('/lua/env')), $new, 'it leads there' for @m;
    };

    subtest "$variant: then the old id is dead" => sub {
        until_after($since, 12.5);
        for my $m (@m) {
            my $old = $jar->copy(server => $m);
            my $r = $old->get('/lua/env');
            is $r->env('MEMSESS_STATE'), 'unknown', 'dead';
            ok leaves_cookie($r), 'the cookie stays as it is';
            my $mark = $m->log->mark;
            $r = $old->get(say_via('cgi', 'MemSess-Set: late=1'));
            ok leaves_cookie($r), 'a write is dropped';
            like $m->log->text($mark), qr/warn.*changes are dropped/, 'with a warning';
            is data($next->copy(server => $m)) =~ s/n=\d+/n/r, 'n&who=ann', 'the new one is live';
        }
    };
}

# ---- answers in whatever order, ids in a row ----

subtest 'a slow answer brings the newest id, not the one it began with' => sub {
    my $jar  = started($plain[0], 'n=0');
    my $old  = $jar->copy;
    my @slow = slow($jar, 'cgi');
    let_pass(1.1);
    $jar->get('/cgi/env/renew');
    my @ids = map { id_of($_->cookie) } $old, $jar;
    # These come with the old id; by the time of their answers the session has a third one.
    push @slow, map { my $c = $old->copy; [$c, slow($c, 'cgi', @$_)] } [], ['MemSess-Incr: n=1'];
    let_pass(1.1);
    $jar->via($plain[1])->get('/cgi/env/renew');
    push @ids, id_of($jar->cookie);
    is scalar(keys %{ { map { $_ => 1 } @ids } }), 3, 'renewed twice';
    is state($jar), 'active', 'used';
    (shift @slow)->();
    is id_of($jar->cookie), $ids[2], 'an answer from before takes nothing back';
    for (@slow) {
        my ($c, $answer) = @$_;
        is told($answer->()), $ids[2], 'the newest';
    }
    is data($jar), 'n=1', 'nothing is lost';
};

subtest 'A to B to C while answers are lost' => sub {
    my $jar = started($plain[0], 'n=0');
    my $first = $jar->copy;
    my $next = $jar->copy;
    for my $k (1 .. 5) {
        let_pass(0.25);
        # The request comes with one id, and the session gets another one in the same request.
        $next->via($plain[$k % 2])->get(say_via('cgi/often', 'MemSess-Incr: n=1'));
    }
    isnt id_of($next->cookie), id_of($first->cookie), 'five ids further';
    for my $m (@plain) {
        my $r = $first->copy(server => $m)->get('/lua/env');
        is attr($r, 'n'), 5, 'the first one leads there';
        is told($r), id_of($next->cookie), 'and is told the last one';
    }
    # Now the last answer is lost, too: only a client with the id before it can find the session.
    my $one_before = $next->copy;
    let_pass(0.25);
    my $told = told($next->copy->get('/cgi/env/often'));
    isnt $told, id_of($next->cookie), 'renewed in vain';
    is told($one_before->copy(server => $_)->get('/lua/env')), $told, 'told again' for @plain;
};

subtest 'renewed by another request in the same moment' => sub {
    for (1 .. 5) {
        my $jar = started($plain[0], 'n=0');
        let_pass(1.1);
        my @all = together(map { [$jar->copy(server => $plain[$_ % 2]), '/cgi/env/renew'] } 1 .. 8);
        my %ids = map { $_ => 1 } grep { $_ ne 'none' } map { told($_) } @all;
        is scalar(keys %ids), 1, 'one new id';
        is told($jar->copy(server => $_)->get('/lua/env')), (keys %ids)[0],
            'which is told to who comes next' for @plain;
    }
};

# A member has its own copy of the old session, and finds out when it wants to renew the id.
subtest 'renewed elsewhere, while a member has an own copy' => sub {
    my @m = map { member(secret() . "MemSessNamespace copies\nMemSessLocalCache 1M max-age=60s\n") }
        1, 2;
    for my $pause (1.1, 3) {
        my $jar = started($m[0], 'n=0');
        is data($jar->copy(server => $_)), 'n=0', 'a copy is there' for @m;
        let_pass($pause);
        my $new = told($jar->copy->get('/cgi/env/renew'));
        isnt $new, 'none', 'renewed';
        is told($jar->copy(server => $m[1])->get('/cgi/env/renew')), $new, 'told there as well';
    }
};

subtest 'servers that go away, with two copies' => sub {
    my @servers = pool(3);
    my @m = map { member('', servers => \@servers) } 1, 2;
    for my $n (0 .. 2) {
        my ($jar, $new) = renewed_in_vain($m[0]);
        $servers[$n]->kill9;
        is told($jar->copy(server => $_)->get('/lua/env')), $new, "server $n is gone: told again"
            for @m;
        $servers[$n]->restart;
        ok wait_for(20, sub { in_use_by($_, $servers[$n]) }), 'back, empty' for @m;
        settle();
        is told($jar->copy(server => $_)->get('/lua/env')), $new, 'told again' for @m;
        my $next = $jar->copy;
        $next->get('/lua/env');
        $servers[$n]->pause;
        is state($next), 'active', 'used for the first time while it hangs';
        is told($jar->copy(server => $_)->get('/lua/env')), $new, 'the old one leads there' for @m;
        $servers[$n]->resume;
        settle();
        is state($next->copy(server => $_)), 'active', 'and all is well' for @m;
    }
};

sub in_use_by {
    my ($m, $server) = @_;
    return $server->during(sub { started($m) for 1 .. 3 }, 'cmd_set');
}

subtest 'members whose clocks are an hour apart' => sub {
    my @apart = map { member("MemSessNamespace clocks\nMemSessIdleTimeout 5h\n", clock => $_) }
        '-1h', 0, '+1h';
    for my $case ([1, 2], [2, 1], [0, 1], [1, 0]) {
        my ($one, $other) = @apart[@$case];
        my $jar = started($one, 'n=0');
        let_pass(1.1);
        my $new = told($jar->copy->get('/cgi/env/renew'));
        isnt $new, 'none', 'renewed';
        is told($jar->copy(server => $other)->get('/lua/env')), $new, 'told again elsewhere';
        my $next = $jar->copy;
        $next->get('/lua/env');
        is state($next), 'active', 'used for the first time';
        is told($jar->copy(server => $_)->get('/lua/env')), $new, 'both still lead there'
            for $one, $other;
    }
};
