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

# A back end that never answers.
my $mute = IO::Socket::INET->new(LocalHost => '127.0.0.1', Listen => 64) or die $@;
my @pool = pool(2);
my $m = MemSess::Member->start(servers => \@pool, mpm => 'prefork', config => timing() . <<"END");
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

# Requests that have each locked a session, and their child processes.
sub lock_many {
    my @held = map { background(started($m, 'n=0'), '/mute') } 1 .. 8;
    my @proxied = map { $mute->accept } @held;
    return (\@held, \@proxied, children_of($m));
}

# Like httpd, this tells them several times: a child that has just begun may not listen yet.
sub end_children {
    my @children = @_;
    my $start = time;
    for (1 .. 10) {
        kill 'TERM', @children;
        last if wait_for(1, sub { !grep { -d "/proc/$_" } @children });
    }
    return time - $start;
}

subtest 'locks are held, and their servers answer' => sub {
    my ($held, $proxied, @children) = lock_many();
    my @asked = map { $_->stats } @pool;
    cmp_ok end_children(@children), '<', 3, scalar(@children) . ' children end at once';
    for my $i (0 .. 1) {
        my $now = $pool[$i]->stats;
        is $now->{$_}, $asked[$i]{$_}, "server $i: $_ as before" for qw(cmd_set delete_hits);
    }
    is_deeply [crashes()], [], 'none crashes';
};

subtest 'locks are held, and their servers hang' => sub {
    ok wait_for(20, sub { eval { started($m, 'n=0') } }), 'there are children again';
    my ($held, $proxied, @children) = lock_many();
    $_->pause for @pool;
    cmp_ok end_children(@children), '<', 3, scalar(@children) . ' children end at once';
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
        . "MemSessLock request\nMemSessLockWait 20s\n");
    is $c->copy(server => $other)->get(say_via('lua', 'MemSess-Incr: n=1'))->status, 200,
        'what a child had locked is free before long';
};
