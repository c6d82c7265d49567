package MemSess::Wire;
# Stands before a real memcached and parses the traffic, so that it can spoil single answers, as told by
# mode(). A mode may end in /get (only readings) or /set (set, add, replace); otherwise every answer is
# spoilt, also the one to the prober:
#   pass       nothing is spoilt
#   mute       no answer, ever
#   drip=SECS  the answer, a byte at a time, with so long between two bytes
#   cut        the first half of the answer, then the connection is closed
#   shut       no answer, the connection is closed
#   garbage    the answer is garbage
#   key        a value comes under the name of another key
#   other      a record of another key comes, one that was set before. (An older record of the same
#              key could not be told from old memory, nor bytes that are no record from a damaged
#              record, which counts as missing.)
#   twice      the answer, and a little later once more
#   refuse     SERVER_ERROR
#   slow=SECS  the right answer, but late
# A mode may end in +SECS (other+0.15): the first answer on each connection is then late, too.
#
# Each connection has a process of its own, and all keep one journal.
use strict;
use warnings;
use parent 'MemSess::Process';

use IO::Select;
use IO::Socket::INET;
use MemSess::Process qw(wait_for free_port);
use Time::HiRes qw(sleep);

my $count = 0;

sub start {
    my ($class, $memcached) = @_;
    my $base = sprintf 't/logs/wire-%d-%d', $$, ++$count;
    my $self = bless { log => "$base.log", base => $base }, $class;
    $self->mode('pass');
    for (1 .. 5) {
        $self->{port}    = free_port();
        $self->{command} = [$^X, '-It/lib', __FILE__, $self->{port}, $memcached->port, $base];
        $self->launch;
        wait_for(15, sub {
            !$self->alive or IO::Socket::INET->new(PeerHost => '127.0.0.1',
                PeerPort => $self->{port})
        });
        return $self if $self->alive;
    }
    die "the wire does not start, see $self->{log}\n";
}

sub address { "127.0.0.1:$_[0]{port}" }

sub mode {
    my ($self, $mode) = @_;
    open my $out, '>', "$self->{base}.new" or die $!;
    print $out $mode;
    close $out;
    rename "$self->{base}.new", "$self->{base}.mode" or die $!;
}

# The journal, a line for each event: connection and command, or connection and SPOILT.
sub journal {
    my ($self) = @_;
    open my $in, '<', "$self->{base}.journal" or return;
    chomp(my @lines = <$in>);
    return @lines;
}

# Commands on connections that had carried a spoilt answer, since the journal was so long.
sub reused {
    my ($self, $from) = @_;
    my (%spoilt, @reused);
    my @journal = $self->journal;
    for (@journal[$from .. $#journal]) {
        my ($connection, $what) = split / /, $_, 2;
        if ($what eq 'SPOILT') { $spoilt{$connection} = 1 }
        elsif ($spoilt{$connection} and $what !~ /^quit/) { push @reused, $_ }
    }
    return @reused;
}

# ---- what runs in the process of its own ----

my ($client, $server, $base);

sub serve {
    (my ($port, $behind), $base) = @_;
    my $listener = IO::Socket::INET->new(LocalHost => '127.0.0.1', LocalPort => $port,
                                         Listen => 64, ReuseAddr => 1) or die "port $port: $@";
    $SIG{CHLD} = 'IGNORE';
    while (1) {
        $client = $listener->accept or next;
        next if fork;
        close $listener;
        $server = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $behind) or exit 0;
        converse();
        exit 0;
    }
}

sub note {
    open my $out, '>>', "$base.journal" or die $!;
    syswrite $out, "$$ $_[0]\n";
}

sub converse {
    my $commands = 0;
    while (defined(my $line = <$client>)) {
        my ($verb, $rest) = $line =~ /^(\w+) ?(.*?)\r?\n/;
        note("$verb " . ($rest // ''));
        exit 0 if $verb eq 'quit';
        my $data = '';
        if ($verb =~ /^(?:set|add|replace)$/) {
            my (undef, undef, undef, $length) = split ' ', $rest;
            read $client, $data, $length + 2;
            my ($key) = split ' ', $rest;
            remember($key, $data) if $verb ne 'add' and $key =~ /\A[\w-]{51}\z/;
        }
        my ($mode, $which) = split m{/},
            do { open my $in, '<', "$base.mode" or die $!; scalar <$in> };
        $mode = 'pass' if $which
            and $which eq 'get' ? $verb ne 'get' : $verb !~ /^(?:set|add|replace)$/;
        if ($mode =~ s/\+(.*)// and !$commands++) { sleep $1 }
        if ($mode =~ /^slow=(.*)/) { sleep $1; $mode = 'pass' }
        if ($mode eq 'refuse') {
            print $client "SERVER_ERROR out of memory storing object\r\n";
            $client->flush;
            next;
        }
        print $server $line, $data;
        spoil($mode, answer($verb), $rest);
    }
}

# For "other": the last records of two keys, from any connection, each after its key.
sub remember {
    my ($key, $data) = @_;
    rename "$base.last", "$base.other" if (recall('last'))[0] ne $key;
    open my $out, '>', "$base.new-$$" or die $!;
    print $out "$key\n$data";
    close $out;
    rename "$base.new-$$", "$base.last" or die $!;
}

sub recall {
    my ($which) = @_;
    open my $in, '<', "$base.$which" or return ('', '');
    chomp(my $key = <$in>);
    local $/;
    return ($key, scalar <$in>);
}

sub answer {
    my ($verb) = @_;
    my $answer = '';
    while (defined(my $line = <$server>)) {
        $answer .= $line;
        next if $verb eq 'stats' && $line =~ /^STAT /;
        last if $verb ne 'get' or $line !~ /^VALUE .* (\d+)\r\n/;
        read $server, $answer, $1 + 2, length $answer;
    }
    return $answer;
}

sub spoil {
    my ($mode, $answer, $key) = @_;
    my $spoilt = $mode eq 'pass' ? $answer
               : $mode eq 'mute' || $mode eq 'shut' ? ''
               : $mode =~ /^drip=/ ? $answer
               : $mode eq 'cut' ? substr $answer, 0, length($answer) / 2
               : $mode eq 'garbage' ? "\0\xffVALUE nothing 0 x\r\n\r\nEND"
               : $mode eq 'key' ? $answer =~ s/^(VALUE )(\S)/$1 . ($2 eq 'A' ? 'B' : 'A')/er
               : $mode eq 'other' ? another($answer, $key)
               : $mode eq 'twice' ? $answer
               : die "no such mode: $mode\n";
    # This is noted before the answer leaves, since its reader may ask again at once.
    note('SPOILT') if $spoilt ne $answer or $mode =~ /^drip|^twice/;
    if ($mode =~ /^drip=(.*)/) {
        my $gap = $1;
        my $select = IO::Select->new($client);
        for my $byte (split //, $answer) {
            $client->syswrite($byte) or exit 0;
            exit 0 if $select->can_read($gap);
        }
        return;
    }
    print $client $spoilt;
    $client->flush;
    if ($mode eq 'twice') { sleep 0.02; print $client $answer; $client->flush }
    exit 0 if $mode eq 'cut' or $mode eq 'shut';
}

sub another {
    my ($answer, $key) = @_;
    my ($data) = map { $_->[1] } grep { $_->[0] ne '' && $_->[0] ne $key } map { [recall($_)] } qw(last other);
    return $answer if !defined $data;
    my $len = length($data) - 2;
    return $answer =~ s/^(VALUE \S+ \d+) \d+\r\n.*\z/$1 $len\r\n${data}END\r\n/sr;
}

if (!caller) {
    $SIG{PIPE} = 'IGNORE';
    serve(@ARGV);
}

1;
