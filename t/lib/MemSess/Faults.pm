package MemSess::Faults;
# The words of the fault suite (t/1*.t).
use strict;
use warnings;

use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use MemSess::HTTP;
use MemSess::Memcached;
use MemSess::Process qw(wait_for);
use MemSess::Test;
use POSIX ();
use Test::More import => [qw(is is_deeply ok diag cmp_ok)];
use Time::HiRes qw(sleep time);

our @EXPORT = qw(pool seconds together background at_once mark holders homes marked repaired settle
                 black_hole late slow goes_away id_of items attr public children_of timing);

# For all members here: a failure is found soon, and the server is tried again soon. (On a slow machine, a
# server that is well may take more than the 250 ms of the default.)
sub timing { "MemSessTimeout 600ms\nMemSessRetry 100ms\n" }

sub pool { my ($n, %args) = @_; return map { MemSess::Memcached->start(%args) } 1 .. $n }

sub seconds { my ($code) = @_; my $start = time; $code->(); return time - $start }

# Long enough for every child process of a member to have seen that a server is back, and for
# every record to be old enough to be repaired.
sub settle { time_passes(1.2) }

# ---- several requests at the same time ----

# A request that is under way: [client, target, headers]. wait() waits for its answer.
sub background {
    my ($client, $target, @headers) = @_;
    my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $client->{server}->port)
        or die $@;
    push @headers, 'Cookie: memsess=' . $client->cookie if defined $client->cookie;
    $s->syswrite(join "\r\n", "GET $target HTTP/1.1", 'Host: localhost', 'Connection: close',
        @headers, '', '');
    return bless { socket => $s, client => $client, begun => time, answer => '' },
        'MemSess::Faults::Request';
}

# Their responses, each with its {seconds}.
sub together {
    my @all = map { background(@$_) } @_;
    my %of  = map { $_->{socket} => $_ } @all;
    my $select = IO::Select->new(map { $_->{socket} } @all);
    my $end    = time + 60;
    while ($select->count and time < $end) {
        for my $s ($select->can_read(1)) {
            my $one = $of{$s};
            next if $s->sysread($one->{answer}, 65536, length $one->{answer});
            $one->{seconds} = time - $one->{begun};
            $select->remove($s);
        }
    }
    return map { $_->wait } @all;
}

sub MemSess::Faults::Request::wait {
    my ($self) = @_;
    local $SIG{ALRM} = sub { die "no answer within 60 s\n" };
    alarm 60;
    while (!defined $self->{seconds}
        and $self->{socket}->sysread($self->{answer}, 65536, length $self->{answer})) { }
    alarm 0;
    $self->{seconds} //= time - $self->{begun};
    my $r = MemSess::HTTP::Response->parse($self->{answer});
    $r->{seconds} = $self->{seconds};
    $self->{client}->keep($_) for $r->header('Set-Cookie');
    return $r;
}

# Runs the code in several processes at once, code(0), code(1), ...; returns their results, as text.
sub at_once {
    my ($n, $code, $meanwhile) = @_;
    my @all = map {
        my $k = $_;
        pipe my $in, my $out or die $!;
        defined(my $pid = fork) or die $!;
        if (!$pid) {
            srand $k;
            my $text = eval { $code->($k) } // "died: $@";
            syswrite $out, $text;
            POSIX::_exit(0);
        }
        { pid => $pid, in => $in };
    } 0 .. $n - 1;
    $meanwhile->() if $meanwhile;
    return map {
        my $text = do { local $/; readline $_->{in} };
        waitpid $_->{pid}, 0;
        $text;
    } @all;
}

my $files = 0;

# A request whose CGI has read the session, and which answers with these lines when the returned
# function is called: late($client, where, lines). Its answer does not go into that client's jar; that
# of slow() does.
sub late {
    my ($c, @what) = @_;
    return slow($c->copy, @what);
}

sub slow {
    my ($c, $where, @lines) = @_;
    my $until = sprintf '%s/logs/late-%d-%d', $ENV{MEMSESS_T_ROOT}, $$, ++$files;
    my $request = background($c, say_via($where, @lines) =~ s{/say}{/late}r,
        "X-Until: $until");
    wait_for(20, sub { -e "$until.begun" }) or die 'the script does not begin';
    return sub {
        open my $out, '>', $until or die $!;
        return $request->wait;
    };
}

# A client that sends a request and closes the connection: nobody gets the answer.
sub goes_away {
    my ($c, $target) = @_;
    my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $c->{server}->port)
        or die $@;
    $s->syswrite(join "\r\n", "GET $target HTTP/1.1", 'Host: localhost',
        'Cookie: memsess=' . $c->cookie, '', '');
    close $s;
}

# The id in a cookie, without the revision and anything else behind it.
sub id_of { return $_[0] =~ s/[.~].*//sr }

# ---- where copies are ----

my $marks = 0;

# A word that only one session has.
sub mark { return sprintf 'Mark%dx%dMark', $$, ++$marks }

# All items of a server, over one connection: key => value. memcached's list of keys lacks some now and
# then, so it is read until it is as long as it should be. It may never be, since expired items count,
# too.
sub items {
    my ($server) = @_;
    my %keys;
    for (1 .. 4) {
        $keys{$_} = 1 for $server->keys;
        last if keys %keys >= $server->stats->{curr_items};
        sleep 0.01;
    }
    my @keys = sort keys %keys or return {};
    my $s = $server->connection;
    my %items;
    while (my @some = splice @keys, 0, 50) {
        $s->print("get @some\r\n");
        while (defined(my $line = <$s>)) {
            my ($key, $length) = $line =~ /^VALUE (\S+) \d+ (\d+)/ or last;
            read($s, my $value, $length + 2) == $length + 2 or die "memcached cut a value short\n";
            $items{$key} = substr $value, 0, $length;
        }
    }
    return \%items;
}

# How many items of each server hold the word.
sub holders {
    my ($mark, @servers) = @_;
    return map { my $items = items($_);
        scalar grep { index($_, $mark) >= 0 } values %$items } @servers;
}

# The servers that hold it, and the key there: [server, key].
sub homes {
    my ($mark, @servers) = @_;
    return map {
        my ($server, $items) = ($_, items($_));
        map { [$server, $_] } grep { index($items->{$_}, $mark) >= 0 } sort keys %$items;
    } @servers;
}

# A session with a mark, and its homes: client, mark, [server, key]...
sub marked {
    my ($member, @servers) = @_;
    my $mark = mark();
    my $c = started($member, "m=$mark&n=1");
    return ($c, $mark, homes($mark, @servers));
}

# Reads until this many copies hold the word.
sub repaired {
    my ($c, $mark, $n, @servers) = @_;
    return wait_for(20, sub {
        sleep 0.1;
        $c->copy->get('/lua/env');
        return $n == sum(holders($mark, @servers));
    });
}

# One attribute of the session, as a script's environment shows it; undef if there is none.
sub attr {
    my ($r, $name) = @_;
    return ($r->env('MEMSESS_DATA') // '') =~ /(?:^|&)$name=([^&]*)/ ? $1 : undef;
}

sub public { my ($c) = @_; return $c->copy->get('/lua/env')->env('MEMSESS_ID') }

# ---- other ----

# A port that neither accepts nor refuses connections: the queue of its listener is full. Returns the
# sockets that fill it; the port is usual again when they are closed.
sub black_hole {
    my ($port) = @_;
    my $listener = IO::Socket::INET->new(LocalHost => '127.0.0.1', LocalPort => $port, Listen => 0,
        ReuseAddr => 1)
        or die "port $port: $@";
    listen $listener, 0 or die $!;
    my @queue;
    for (1 .. 10) {
        my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port, Timeout => 0.5);
        return ($listener, @queue) unless $s;
        push @queue, $s;
    }
    die "the queue of port $port is never full\n";
}

# The processes that a member has started.
sub children_of {
    my ($member) = @_;
    my @children;
    for my $stat (glob '/proc/[0-9]*/stat') {
        open my $in, '<', $stat or next;
        my ($pid, $command, $parent) = (<$in> // '') =~ /^(\d+) \((.*)\) \S+ (\d+) /s or next;
        push @children, $pid if $parent == $member->pid;
    }
    return @children;
}

1;
