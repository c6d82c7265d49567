# MemSessBind: a cookie in a client other than its own shows nothing, changes nothing, ends nothing.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Status;
use MemSess::Test;
use MemSess::Site;

plan tests => 9;

my $dir = MemSess::Site::query('LIBEXECDIR');
my $secret = private_file('secret', '0123456789abcdef' x 4);

my $config = timing() . qq(
    LoadModule remoteip_module "$dir/mod_remoteip.so"
    RemoteIPHeader X-From
    LuaMapHandler ^/at/\\w+/(\\w+)\$ "\${T_ROOT}/lua/\$1.lua"
    <Location "/status">
        SetHandler memsess-status
    </Location>
    <LocationMatch "/ua">
        MemSessBind ua
    </LocationMatch>
    <LocationMatch "/ip">
        MemSessBind ip
    </LocationMatch>
    <LocationMatch "/both">
        MemSessBind ua ip
    </LocationMatch>
    <LocationMatch "/one">
        MemSessBind ua
        MemSessLock request
    </LocationMatch>
);
my @pool = pool(2);
my $m = MemSess::Member->start(servers => \@pool, config => $config);

my @her = ('User-Agent: Mozilla/5.0 (Ann)', 'X-From: 192.0.2.1');
my @thief = ('User-Agent: curl', 'X-From: 198.51.100.7');
my @moved = ($her[0], $thief[1]);
my @updated = ($thief[0], $her[1]);

# What a request by that client sees under /WHERE.
sub shown { my ($c, $where, @client) = @_;
    my $r = $c->get("/at/$where/env", @client);
    return join ' ', $r->env('MEMSESS_STATE'), $r->env('MEMSESS_DATA') // '-' }

sub change { my ($c, $where, $client, @headers) = @_;
    return $c->get(say_via('lua', @headers) =~ s{^/lua}{/at/$where}r, @$client) }

sub begun { my ($where, $client) = @_;
    my $c = client($m);
    change($c, $where, $client, 'MemSess-Set: a=1');
    return $c }

sub rejected { return status($m)->{sessions}{rejected} }

subtest 'by User-Agent' => sub {
    my $c = begun('ua', \@her);
    is shown($c, 'ua', @her), 'active a=1', 'its own client';
    is shown($c, 'ua', @moved), 'active a=1', 'from another address';
    is shown($c, 'ua', @thief), 'invalid -', 'another client';
    is shown($c, 'ua'), 'invalid -', 'one without a name';
    ok defined $c->cookie, 'the cookie is not cleared';
    is shown($c, 'ua', @her), 'active a=1', 'the session is as it was';
};

subtest 'by address' => sub {
    my $c = begun('ip', \@her);
    is shown($c, 'ip', @updated), 'active a=1', 'another agent';
    is shown($c, 'ip', @moved), 'invalid -', 'another address';
    ok defined $c->cookie, 'the cookie is kept';
    is shown($c, 'ip', @her), 'active a=1', 'back again';
};

subtest 'by both' => sub {
    my $c = begun('both', \@her);
    is shown($c, 'both', @$_), 'invalid -', "@$_" for \@thief, \@moved, \@updated;
    is shown($c, 'both', @her), 'active a=1', 'its own client';
    is shown($c, 'ua', @moved), 'active a=1', 'a section looks at what it names';
};

for my $where ('ua', 'one') {
    subtest "a stranger's changes, $where" => sub {
        my $c = begun($where, \@her);
        my $own = $c->cookie;
        for my $header ('MemSess-Set: a=2', 'MemSess-Unset: a', 'MemSess-Incr: a=1',
                        'MemSess-Renew: 1', 'MemSess-Destroy: 1', 'MemSess-Destroy: all') {
            my $stranger = $c->copy;
            is change($stranger, $where, \@thief, $header)->status, 200, $header;
            isnt $stranger->cookie // '', $own, 'another session' if $header =~ /Set|Incr/;
            is shown($c, $where, @her), 'active a=1', 'hers is as it was';
        }
    };
}

subtest 'bound later' => sub {
    my $c = begun('free', \@her);
    is shown($c, 'ua', @thief), 'active a=1', 'not bound yet';
    change($c, 'ua', \@her, 'MemSess-Set: b=2');
    is shown($c, 'ua', @thief), 'invalid -', 'by the next write';
    is shown($c, 'ua', @her), 'active a=1&b=2', 'to the one who wrote';
};

subtest 'a new id, and a new session' => sub {
    my $c = begun('both', \@her);
    change($c, 'both', \@her, 'MemSess-Renew: 1');
    is shown($c, 'both', @her), 'active a=1', 'renewed';
    is shown($c, 'both', @thief), 'invalid -', 'and bound still';
    change($c, 'free', \@thief, 'MemSess-Renew: 1');
    is shown($c, 'both', @her), 'active a=1', 'renewed where nothing is asked for: the same client';
    change($c, 'both', \@her, 'MemSess-Destroy: 1', 'MemSess-Set: z=1');
    is shown($c, 'both', @her), 'active z=1', 'another session';
    is shown($c, 'both', @thief), 'invalid -', 'bound too';
};

subtest 'counted, and told' => sub {
    my $c = begun('ua', \@her);
    my $before = rejected();
    shown($c, 'ua', @thief) for 1 .. 40;
    my $rejected = rejected();
    is $rejected - $before, 40, 'rejected';
    my $lines = () = $m->log->text =~ /memsess:notice.*a client other than its own/g;
    ok $lines >= 1, 'told';
    ok $lines < $rejected / 2, "but not of each: $lines lines";
};

subtest 'sealed, and cached' => sub {
    my $sealed = MemSess::Member->start(servers => \@pool,
        config => "$config\nMemSessSecret file:$secret\nMemSessLocalCache 1000000");
    my $c = client($sealed);
    change($c, 'both', \@her, 'MemSess-Set: a=1');
    for (1 .. 2) {
        is shown($c, 'both', @her), 'active a=1', 'its own client';
        is shown($c, 'both', @thief), 'invalid -', 'another';
    }
};
