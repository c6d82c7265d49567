# Children of the prefork MPM end from within a signal handler, whatever their request is doing: a
# lock is held, connections are in use, any mutex may be taken. The module does nothing then,
# neither on the network nor with a mutex; locks are free 10 s later. (httpd itself frees memory in
# that handler. A child that was interrupted in malloc() then hangs until it is killed, 10 s later:
# so under load the test only asks that nobody crashes.)
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use IO::Socket::INET;
use MemSess::Faults;
use MemSess::Test;
use Time::HiRes qw(sleep time);

plan tests => 3;

# A child that waits for a server takes MemSessTimeout, and one that waits for a mutex for ever. On a slow
# machine many children end far sooner than that, too.
my $FOR_EVER = 30;

# A back end that never answers.
my $mute = IO::Socket::INET->new(LocalHost => '127.0.0.1', Listen => 64) or die $@;
my @pool = pool(2);
my $m = MemSess::Member->start(servers => \@pool, mpm => 'prefork', config => timing() . <<"END");
MemSessTimeout ${FOR_EVER}s
MemSessLock request
MemSessRedundancy 2
StartServers 12
MinSpareServers 6
MaxRequestWorkers 24
ProxyPass /mute http://127.0.0.1:@{[ $mute->sockport ]}/
<Location /incr>
    Header set MemSess-Incr n=1
</Location>
Alias /incr $ENV{MEMSESS_T_ROOT}/htdocs/plain.txt
END

sub crashes { return grep { /exit signal (?!Killed)/ } split /\n/, $m->log->text }

# What requests have written to a server: each key, and the number of its last write. Members write an
# item of their own, too, once a minute.
sub written {
    my ($server) = @_;
    my %written;
    for my $key (grep { ($server->get($_) // '') !~ /^1 \S+:/ } $server->keys) {
        my ($answer) = $server->command("mg $key c");
        $written{$key} = $1 if $answer =~ /^HD c(\d+)/;
    }
    return \%written;
}

# The same, once there are so many keys: memcached's list of them lacks some now and then.
sub written_all {
    my ($n, $server) = @_;
    my $written;
    wait_for(20, sub { keys %{ $written = written($server) } == $n })
        or die scalar(keys %$written) . " keys instead of $n";
    return $written;
}

# Requests that have each locked one of these sessions, and their child processes.
sub lock_all {
    my @held = map { background($_, '/mute') } @_;
    my @proxied = map { $mute->accept } @held;
    return (\@held, \@proxied, children_of($m));
}

# Like httpd, this tells them several times: a child that has just begun may not listen yet.
sub end_children {
    my @children = @_;
    for (1 .. $FOR_EVER / 2) {
        kill 'TERM', @children;
        return 1 if wait_for(1, sub { !grep { -d "/proc/$_" } @children });
    }
    return 0;
}

subtest 'locks are held, and their servers answer' => sub {
    my @sessions = map { started($m, 'n=0') } 1 .. 8;
    my @records = map { written_all(8, $_) } @pool;
    my ($held, $proxied, @children) = lock_all(@sessions);
    # Locks are renewed until the children are told to end, and free 10 s later.
    my @with_locks = map { written_all(16, $_) } @pool;
    my @deleted = map { $_->stats->{delete_hits} } @pool;
    ok end_children(@children), scalar(@children) . ' children end at once';
    for my $i (0 .. 1) {
        is $pool[$i]->stats->{delete_hits}, $deleted[$i], "server $i: nothing is deleted";
        my $now = written($pool[$i]);
        is_deeply [grep { !$with_locks[$i]{$_} } keys %$now], [], "server $i: nothing is added";
        is_deeply +{ map { $_ => $now->{$_} } keys %{ $records[$i] } }, $records[$i],
            "server $i: no session is written";
    }
    is_deeply [crashes()], [], 'none crashes';
};

subtest 'locks are held, and their servers hang' => sub {
    ok wait_for(20, sub { eval { started($m, 'n=0') } }), 'there are children again';
    my ($held, $proxied, @children) = lock_all(map { started($m, 'n=0') } 1 .. 8);
    $_->pause for @pool;
    ok end_children(@children), scalar(@children) . ' children end at once';
    $_->resume for @pool;
    is_deeply [crashes()], [], 'none crashes';
};

subtest 'all is stopped under load' => sub {
    ok wait_for(20, sub { eval { started($m, 'n=0') } }), 'there are children again';
    my $c = started($m, 'n=0');
    my $holder = background($c, '/mute');
    my $proxied = $mute->accept;
    my @clients = map {
        defined(my $pid = fork) or die $!;
        if (!$pid) {
            my $mine;
            while (1) {
                $mine //= eval { started($m, 'n=0') };
                eval { $mine->get('/incr') } if $mine;
                sleep 0.002;
            }
        }
        $pid;
    } 1 .. 6;
    sleep 1;
    ok $m->stop, 'it stops';
    kill 'KILL', @clients;
    waitpid $_, 0 for @clients;
    is_deeply [crashes()], [], 'none crashes';
    my $other = MemSess::Member->start(servers => \@pool, config => timing()
        . "MemSessLock request\nMemSessLockWait 50s\n");
    is $c->copy(server => $other)->get(say_via('lua', 'MemSess-Incr: n=1'))->status, 200,
        'what a child had locked is free before long';
};
