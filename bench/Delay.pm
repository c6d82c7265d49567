package Delay;

# A forwarder before a memcached that keeps each answer back for a while: so the
# time of a request tells how many answers it waited for, one after the other.

use strict;
use warnings;

use Rig;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

# Returns its address; it is stopped like all other processes. It is slow from the
# start, unless it is to be quick then; quick() and slow() change that.
sub before {
    my ($memcached, $seconds, $is_quick) = @_;
    my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1')
        or die "no free port: $!\n";
    local @SIG{qw(USR1 USR2)} = ('IGNORE') x 2;    # until the child minds them
    my $pid = Rig::spawn_code(sub { forward($listener, $memcached->{address}, $seconds,
        $is_quick) });
    return { pid => $pid, address => '127.0.0.1:' . $listener->sockport };
}

sub quick { return kill 'USR1', $_[0]{pid} }
sub slow  { return kill 'USR2', $_[0]{pid} }

sub forward {
    my ($listener, $address, $seconds, $is_quick) = @_;
    my $delay = $is_quick ? 0 : $seconds;
    local @SIG{qw(USR1 USR2 PIPE)} = (sub { $delay = 0 }, sub { $delay = $seconds }, 'IGNORE');
    my $select = IO::Select->new($listener);
    my (%peer, %is_server, @held);
    while (1) {
        my $rest = @held ? $held[0][0] - time() : undef;
        for my $socket ($select->can_read(defined $rest && $rest < 0 ? 0 : $rest)) {
            if ($socket == $listener) {
                my $client = $listener->accept or next;
                my $server = IO::Socket::INET->new(PeerAddr => $address) or next;
                @peer{ $client, $server } = ($server, $client);
                $is_server{$server} = 1;
                $_->autoflush(1) for $client, $server;
                $select->add($client, $server);
                next;
            }
            my $peer = $peer{$socket};
            next if !$peer || !defined fileno $socket;    # closed with its peer
            if (!sysread $socket, my ($data), 65536) {
                $select->remove($socket, $peer);
                delete @peer{ $socket, $peer };
                delete @is_server{ $socket, $peer };
                close $_ for $socket, $peer;
            }
            elsif ($is_server{$socket}) {
                push @held, [time() + $delay, $peer, $data];
            }
            else {
                syswrite $peer, $data;
            }
        }
        while (@held && $held[0][0] <= time()) {
            my (undef, $client, $data) = @{ shift @held };
            syswrite $client, $data if defined fileno $client;
        }
    }
    return;
}

1;
