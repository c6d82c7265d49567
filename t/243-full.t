# A full memcached is noticed: its own figures, evictions, refusals and their reason; and sessions
# that are gone are not counted as forged cookies.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Status;
use MemSess::Test;

plan tests => 6;

my $config = timing() . q(
    MemSessCompress Off
    <Location "/status">
        SetHandler memsess-status
    </Location>
);
my @figures = qw(memory_bytes memory_limit_bytes items evictions uptime_s);

sub noise { my ($n) = @_; return join '', map { chr(65 + rand 26) } 1 .. $n }

# Stores this many items; returns how many the server took.
sub fill {
    my ($server, $count, $size) = @_;
    my $s = $server->connection;
    my ($stored, $value) = (0, 'x' x $size);
    for my $n (1 .. $count) {
        $s->print("set filler$size-$n 0 0 $size\r\n$value\r\n");
        $stored++ if (<$s> // die "memcached closed\n") =~ /^STORED/;
    }
    return $stored;
}

# What the status says about that server, by its place.
sub of { my ($m, $i) = @_; return status($m)->{servers}[$i] }

# The samples of a family, by server.
sub samples {
    my ($m, $name) = @_;
    my ($family) = grep { $_->[0] eq $name }
        metrics(client($m)->get('/status?format=prometheus')->body);
    return { map { $_->[1]{server} // $_->[1]{kind} => $_->[2] } @{ $family->[3] } };
}

subtest 'what servers say of themselves' => sub {
    my @pool = (MemSess::Memcached->start(args => ['-m', '8192']), pool(1));
    my $m = MemSess::Member->start(servers => \@pool, config => $config);
    started($m) for 1 .. 3;
    ok wait_for(40, sub { !grep { !defined $_->{items} || $_->{items} < 3 }
        @{ status($m)->{servers} } }), 'told';
    for my $i (0, 1) {
        my ($says, $stats) = (of($m, $i), $pool[$i]->stats);
        is $says->{memory_limit_bytes}, ($i ? 64 : 8192) * 1024 * 1024, 'limit';
        cmp_ok $says->{memory_bytes}, '>', 0, 'memory';
        cmp_ok $says->{memory_bytes}, '<=', $stats->{bytes} + 1000, 'memory';
        is $says->{evictions}, 0, 'evictions';
        cmp_ok abs($says->{uptime_s} - $stats->{uptime}), '<=', 20, 'uptime';
        is_deeply [map { ref \$says->{$_} } @figures], [('SCALAR') x 5], 'numbers';
    }
    my %prometheus = (memory_bytes => 'memory_bytes', memory_limit_bytes => 'memory_limit_bytes',
        items => 'items', evictions => 'evictions_total', uptime_s => 'uptime_seconds');
    for my $name (sort keys %prometheus) {
        my $there = samples($m, 'memsess_server_' . $prometheus{$name} =~ s/_total$//r);
        is_deeply [sort keys %$there], [sort map { $_->address } @pool], "Prometheus: $name";
    }
    is samples($m, 'memsess_server_memory_limit_bytes')->{ $pool[0]->address } + 0, 2**33;
    my $page = client($m)->get('/status')->body;
    like $page, qr{>memory</th><td>[\s\d.]+\w? +of +8\.0G<}, 'the page: memory';
    like $page, qr{>$_</th>}, "the page: $_" for 'items', 'evictions', 'running for';
    is_deeply [grep { /evict|refuse/ } @{ status($m)->{warnings} }], [], 'no warning';
    $pool[0]->kill9;
    started($m) for 1 .. 3;
    ok wait_for(20, sub { of($m, 0)->{state} eq 'down' }), 'down';
    is_deeply [map { of($m, 0)->{$_} } @figures], [(undef) x 5], 'one that is down tells nothing';
    is_deeply [keys %{ samples($m, 'memsess_server_items') }], [$pool[1]->address],
        'no sample of it';
    $_->stop for $m, @pool;
};

subtest 'a server that evicts' => sub {
    my @pool = (MemSess::Memcached->start(args => ['-m', '2']), pool(1));
    my $m = MemSess::Member->start(servers => \@pool, config => "$config MemSessRedundancy 1");
    my $name = $pool[0]->address;
    ok wait_for(40, sub { defined of($m, 0)->{evictions} }), 'told';
    is samples($m, 'memsess_warning')->{evictions} + 0, 0, 'no warning yet';
    fill($pool[0], 600, 7000);
    my $evicted = $pool[0]->stats->{evictions};
    cmp_ok $evicted, '>', 100, 'it evicts';
    my $warning = qr/server \Q$name\E is full: it has evicted $evicted items since \w+, \d+ \w+ \d+ \d\d:\d\d:\d\d GMT, .*\(its -m\).*MemSessServers/;
    ok $m->log->wait_for(qr/memsess:warn.*$warning/), 'the log says so' or diag $m->log->text;
    like "@{ status($m)->{warnings} }", $warning, 'JSON';
    is of($m, 0)->{evictions}, $evicted, 'how many';
    is of($m, 0)->{state}, 'up', 'it is up';
    is samples($m, 'memsess_warning')->{evictions} + 0, 1, 'Prometheus';
    is samples($m, 'memsess_server_evictions')->{$name} + 0, $evicted, 'Prometheus: how many';
    my $page = client($m)->get('/status')->body;
    like $page, qr/<li>$warning/, 'the page';
    like $page, qr/All 2 servers are up, but sessions are lost/, 'and its verdict';
    unlike $page, qr/verdict good/, 'is not that all is well';
    $_->stop for $m, @pool;
};

subtest 'a server that is full and evicts nothing' => sub {
    my $server = MemSess::Memcached->start(args => ['-m', '2', '-M']);
    my $m = MemSess::Member->start(servers => [$server], config => $config);
    my $c = started($m);
    fill($server, 400, $_) for 6400, 7000, 7600, 8200;
    my $r = client($m)->get(say_via('lua', 'MemSess-Set: a=' . noise(7000)));
    is $r->status, 500, 'a session that has no room is refused';
    like $m->log->text, qr/memsess:error.*changes are lost: it is out of memory \(raise its -m; with -M it evicts nothing\)/, 'the log: why';
    my $refuses = qr/server \Q@{[ $server->address ]}\E refuses sessions: it is out of memory/;
    like $m->log->text, qr/memsess:warn.*$refuses/, 'the log: who';
    my $s = status($m);
    like $s->{servers}[0]{last_error}{text}, qr/^it is out of memory \(raise its -m/, 'last_error';
    is $s->{servers}[0]{state}, 'up', 'it is up';
    like "@{ $s->{warnings} }", $refuses, 'a warning';
    is samples($m, 'memsess_warning')->{refusals} + 0, 1, 'Prometheus';
    is state($c), 'active', 'and what it has is there';
    client($m)->get(say_via('lua', 'MemSess-Set: a=' . noise(7000))) for 1 .. 3;
    is scalar(() = $m->log->text =~ /$refuses/g), 1, 'who: said once';
    $_->stop for $m, $server;
};

subtest 'sessions too large for a server' => sub {
    my @pool = pool(2, args => ['-I', '512k']);
    my $m = MemSess::Member->start(servers => \@pool, config => $config);
    my $c = started($m);
    my $r;
    for my $n (1 .. 12) {
        $r = $c->get(say_via('lua', "MemSess-Set: v$n=" . noise(50000)));
        last if $r->status != 200;
    }
    is $r->status, 500, 'refused';
    like $m->log->text, qr/memsess:error.*changes are lost: the record is too large for this server \(raise its -I\)/,
        'the log: why';
    like $m->log->text, qr/memsess:warn.*server \Q@{[ $_->address ]}\E refuses sessions: the record is too large for this server \(raise its -I\)/, 'who' for @pool;
    is $_->{last_error}{text}, 'the record is too large for this server (raise its -I)', 'last_error'
        for @{ status($m)->{servers} };
    is state($c), 'active', 'and the session is as it was';
    $_->stop for $m, @pool;
};

my $secret = private_file('secret', '0123456789abcdef' x 4);

subtest 'sessions that are gone are no forged cookies' => sub {
    my $server = MemSess::Memcached->start;
    for my $signed (1, 0) {
        my $m = MemSess::Member->start(servers => [$server],
            config => $config . ($signed ? "MemSessSecret file:$secret" : ''));
        my @c = map { started($m) } 1 .. 5;
        my $forged = $signed ? $c[0]->cookie =~ s/(.)$/$1 eq 'A' ? 'E' : 'A'/er : 'short';
        $server->restart;
        back_again(sub { client($m)->get(say_via('cgi', 'MemSess-Set: a=1'))->status == 200 });
        my $before = status($m)->{sessions};
        is state($_), 'unknown', 'gone' for @c;
        is state(client($m)->set_cookie($forged)), 'invalid', 'forged' for 1, 2;
        my $after = status($m)->{sessions};
        is $after->{missed} - $before->{missed}, 5, 'missed';
        is $after->{rejected} - $before->{rejected}, $signed ? 2 : 7, 'rejected';
        ok $m->log->wait_for(qr/memsess:notice.*\b\d+ cookies were refused, since they were malformed or forged/), 'told';
        like $m->log->text, $signed ? qr/\b2 cookies were refused/
            : qr/without MemSessSecret also those of sessions that are gone/, 'no more than is known';
        $m->stop;
    }
    $server->stop;
};

# The prober goes on with its work while servers hang that nobody uses.
subtest 'servers that hang' => sub {
    my @pool = pool(6);
    my $m = MemSess::Member->start(servers => \@pool, config => $config);
    ok wait_for(60, sub { !grep { !defined $_->{uptime_s} } @{ status($m)->{servers} } }), 'told';
    $_->pause for @pool[0 .. 4];
    ok wait_for(60, sub { 5 == grep { $_->{state} eq 'down' } @{ status($m)->{servers} } }),
        'they are found out by whoever looks';
    like of($m, $_)->{last_error}{text}, qr/^no answer within 600 ms \(MemSessTimeout\)$/, 'why'
        for 0 .. 4;
    is_deeply [map { of($m, $_)->{items} } 0 .. 4], [(undef) x 5], 'and tell nothing';
    ok defined of($m, 5)->{items}, 'the one that is well does';
    $_->resume for @pool;
    ok wait_for(60, sub { !grep { $_->{state} ne 'up' || !defined $_->{uptime_s} }
        @{ status($m)->{servers} } }), 'they are back, and tell';
    $_->stop for $m, @pool;
};
