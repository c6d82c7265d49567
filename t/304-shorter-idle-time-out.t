# A section with a shorter idle time-out reports a session as expired, and leaves the session and
# its cookie alone for other sections.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;

plan tests => 7;

my $secret = private_file('304.secret', 's' x 40);

my @pool = pool(2);
sub member {
    my ($config) = @_;
    return MemSess::Member->start(servers => \@pool, config => timing() . $config . <<'END');
LoadModule apitest_module "${T_ROOT}/modules/.build/mod_apitest.so"
<Location /bank/api>
    SetHandler apitest
</Location>
<LocationMatch /bank>
    MemSessIdleTimeout 20s
</LocationMatch>
<LocationMatch /members>
    AuthType MemSess
    MemSessLoginURL /login
    Require valid-user
</LocationMatch>
END
}

my %m = (
    plain  => [map { member('') } 1, 2],
    cached => [map { member("MemSessSecret file:$secret\nMemSessLocalCache 1M\n") } 1, 2],
);

sub state_at { my ($c, $where) = @_; return $c->get("/cgi/env$where")->env('MEMSESS_STATE') }

for my $kind (sort keys %m) {
    my @m = @{ $m{$kind} };
    subtest "$kind: expired there, active elsewhere" => sub {
        my $c = started($m[0], 'user=ann');
        my $cookie = $c->cookie;
        is state_at($c, '/bank'), 'active', 'at first';
        let_pass(21);
        for my $m (@m, @m) {
            $c->via($m);
            my $r = $c->get('/cgi/env/bank');
            is $r->env('MEMSESS_STATE'), 'expired', 'expired in the section with less patience';
            ok leaves_cookie($r), 'the cookie stays';
            like $r->header('Cache-Control'), qr/private/, 'no cache keeps that: it may be active again';
            is $c->get('/cgi/env/bank/members', 'Accept: text/html')->status, 302,
                'she is asked to log in there';
            is data($c->copy), 'user=ann', 'as it was elsewhere';
            is $c->copy->get('/cgi/env/members')->env('REMOTE_USER'), 'ann', 'logged in there';
            is id_of($c->cookie), id_of($cookie), 'by the same id';
        }
    };
}

subtest 'used elsewhere, it goes on there too' => sub {
    my $c = started($m{plain}[0], 'user=ann');
    let_pass(21);
    is state_at($c, '/bank'), 'expired', 'expired';
    set_via($c, 'a=1');
    is state_at($c, '/bank'), 'active', 'used a moment ago';
};

subtest 'a log-in there begins another one' => sub {
    my $c = started($m{plain}[0], 'user=ann&cart=1');
    my $old = $c->copy;
    let_pass(21);
    $c->get(say_via('cgi/bank', 'MemSess-Set: user=ann', 'MemSess-Renew: 1'));
    is data($c), 'user=ann', 'with what it sets';
    is data($old), 'cart=1&user=ann', 'the other one is as it was';
};

subtest 'a log-out there ends it everywhere' => sub {
    my %ways = ('MemSess-Destroy' => say_via('cgi/bank', 'MemSess-Destroy: 1'),
        'C API' => '/bank/api?destroy', 'C API: all' => '/bank/api?everywhere');
    my %c = map { $_ => started($m{plain}[0], 'user=ann') } keys %ways;
    let_pass(21);
    for my $way (sort keys %ways) {
        my $old = $c{$way}->copy;
        ok clears_cookie($c{$way}->get($ways{$way})), "$way: the cookie is cleared";
        is state($old->copy(server => $_)), 'unknown', 'it is over' for @{ $m{plain} };
    }
};

# For how many seconds a copy, [server, key], is kept.
sub kept_for {
    my ($server, $key) = @{ $_[0] };
    return join('', $server->command("mg $key t")) =~ /^HD t(\d+)/ ? $1 : 0;
}

# Otherwise it would be gone for other sections two minutes after its end here.
subtest 'what is written there is kept for as long as elsewhere' => sub {
    my ($c, $mark) = (client($m{plain}[0]), mark());
    $c->get(say_via('cgi', "MemSess-Set: a=$mark"));
    $c->get(say_via('cgi/bank', 'MemSess-Set: b=1'));
    my @kept;
    ok wait_for(20, sub { (@kept = homes($mark, @pool)) == 2 }), 'two copies';
    cmp_ok kept_for($_), '>', 1700, 'kept for half an hour' for @kept;
};

# A session that began here, and was never used elsewhere, is kept for two minutes after its end: so
# for at least a minute it is reported as expired.
subtest 'how long it is told' => sub {
    my ($c, $mark) = (client($m{plain}[0]), mark());
    $c->get(say_via('cgi/bank', "MemSess-Set: a=$mark"));
    # memcached's list of keys is incomplete now and then.
    my @kept;
    ok wait_for(20, sub { (@kept = homes($mark, @pool)) == 2 }), 'two copies';
    cmp_ok kept_for($_), '>', 60, 'kept a minute past its end at least' for @kept;
    let_pass(21);
    is state_at($c, '/bank'), 'expired', 'expired there';
    is state($c), 'active', 'not elsewhere';
    $_->[0]->delete($_->[1]) for @kept;
    is state_at($c, '/bank'), 'unknown', 'then unknown';
};
