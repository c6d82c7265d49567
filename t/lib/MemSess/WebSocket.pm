package MemSess::WebSocket;
# Both ends of WebSockets. The back end, a process of its own, answers /echo with 101, and then repeats
# each message. Its query may say wait=FILE, to answer when that file exists (FILE.begun then tells that
# it waits); early, to send 103 before; status=403, to answer that in place of 101 and leave the connection open. The client speaks
# HTTP/1, or HTTP/2 (RFC 8441).
use strict;
use warnings;
use parent 'MemSess::Process';

use Digest::SHA qw(sha1_base64);
use IO::Select;
use IO::Socket::INET;
use MemSess::HTTP;
use Time::HiRes qw(sleep);

sub backend { my ($class) = @_; return $class->named('websocket')->launch_perl(__FILE__) }

# ---- the client ----

# Opens a WebSocket: (a member, a target, header lines); the answer is in {response}.
sub open {
    my ($class, $server, $target, @headers) = @_;
    my $self = $class->begin($server, $target, @headers);
    $self->answered;
    return $self;
}

sub begin {
    my ($class, $server, $target, @headers) = @_;
    my $self = bless { socket => connected($server), in => '' }, $class;
    $self->{socket}->syswrite(join "\r\n", "GET $target HTTP/1.1", 'Host: localhost', @headers,
        'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', '');
    return $self;
}

sub connected {
    my ($server) = @_;
    return IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $server->port) || die $@;
}

# The head of the answer and those of interim answers before it, without the bytes that follow.
sub answered {
    my ($self) = @_;
    my $head = '';
    for (;;) {
        my $one = $self->take(sub { $_[0] =~ s/\A(.*?\r\n\r\n)//s ? $1 : undef });
        $head .= $one // '';
        last if !defined $one or $one !~ m{^HTTP/1\.1 1(?!01)};
    }
    $self->{head} = $head;
    # A response's parser takes a 101 for an interim one.
    return $self->{response} = MemSess::HTTP::Response->parse($head =~ s{HTTP/1\.1 101}{HTTP/1.1 200}r);
}

sub status { my ($self) = @_; return $self->{head} =~ m{.*^HTTP/1\.1 (\d+)}ms ? $1 : 0 }

# The answer to a message.
sub say {
    my ($self, $text) = @_;
    my $mask = 'abcd';
    $self->send_bytes(pack('CC', 0x81, 0x80 | length $text) . $mask
        . join '', map { substr($text, $_, 1) ^ substr($mask, $_ % 4, 1) } 0 .. length($text) - 1);
    return $self->hear;
}

sub hear {
    my ($self) = @_;
    return $self->take(sub {
        my ($type, $len) = unpack 'CC', $_[0];
        return if !defined $len or length $_[0] < 2 + $len;
        return substr(substr($_[0], 0, 2 + $len, ''), 2);
    });
}

# What the parser takes from the front of the input; undef if nothing more comes.
sub take {
    my ($self, $parser) = @_;
    my $select = IO::Select->new($self->{socket});
    for (;;) {
        my $taken = $parser->($self->{in});
        return $taken if defined $taken;
        $select->can_read(20) or return;
        $self->receive or return;
    }
}

sub receive { my ($self) = @_; $self->{socket}->sysread($self->{in}, 65536, length $self->{in}) }
sub send_bytes { my ($self, $bytes) = @_; $self->{socket}->syswrite($bytes) }
sub close { my ($self) = @_; close $self->{socket} }

# ---- the client over HTTP/2 ----

package MemSess::WebSocket::H2;
our @ISA = 'MemSess::WebSocket';

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload;
}

# No indexing, no Huffman code.
sub field { my ($name, $value) = @_;
    return "\0" . join '', map { length $_ < 127 ? chr(length $_) . $_ : die 'too long' }
        $name, $value }

sub begin {
    my ($class, $server, $target, @headers) = @_;
    my $self = bless { socket => MemSess::WebSocket::connected($server), in => '', raw => '',
        settings => '' }, $class;
    $self->{socket}->syswrite("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, ''));
    $self->receive until $self->{settings};
    die 'the server offers no WebSockets' if $self->{settings} !~ /\A(?:.{6})*?\0\x08\0\0\0\x01/s;
    $self->{socket}->syswrite(frame(1, 4, 1, join '', map { field(@$_) }
        [':method', 'CONNECT'], [':protocol', 'websocket'], [':scheme', 'http'],
        [':path', $target], [':authority', 'localhost'], ['sec-websocket-version', 13],
        map { my ($n, $v) = split /: /, $_, 2; [lc $n, $v] } @headers));
    return $self;
}

# The status alone, as the static table has it.
sub answered {
    my ($self) = @_;
    $self->receive while !defined $self->{fields} and !$self->{is_over};
    return;
}

sub status {
    my ($self) = @_;
    my %static = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404, 14 => 500);
    my $first = ord(($self->{fields} // '') =~ s/\A[\x20-\x3f]+//r);
    return $first & 0x80 ? $static{$first & 0x7f} // 0 : 'other';
}

sub receive {
    my ($self) = @_;
    my $n = $self->{socket}->sysread($self->{raw}, 65536, length $self->{raw});
    $self->{is_over} = 1 if !$n;
    while (length $self->{raw} >= 9) {
        my ($high, $low, $type, $flags, $stream) = unpack 'CnCCN', $self->{raw};
        my $length = $high << 16 | $low;
        last if length $self->{raw} < 9 + $length;
        my $payload = substr substr($self->{raw}, 0, 9 + $length, ''), 9;
        if ($type == 4 and !($flags & 1)) {
            $self->{settings} .= $payload;
            $self->{socket}->syswrite(frame(4, 1, 0, ''));
        }
        $self->{fields} = $payload if $type == 1;
        $self->{in} .= $payload if $type == 0;
        $self->{is_over} = 1 if $type == 3 or $type == 7 or ($type < 2 and $flags & 1);
    }
    return $n && !$self->{is_over};
}

sub send_bytes { my ($self, $bytes) = @_; $self->{socket}->syswrite(frame(0, 0, 1, $bytes)) }

# ---- the back end, in the process of its own ----

package MemSess::WebSocket;

sub answer {
    my ($s) = @_;
    my $head = '';
    while (defined(my $line = <$s>)) { last if $line eq "\r\n"; $head .= $line }
    my ($query) = $head =~ /^\S+ [^? ]*\??(\S*)/;
    my %how = map { my ($n, $v) = split /=/, $_, 2; ($n => $v // 1) } split /&/, $query;
    my ($key) = $head =~ /^Sec-WebSocket-Key: (\S+)/mi;
    $s->autoflush(1);
    print $s "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nMemSess-Set: early=1\r\n\r\n" if $how{early};
    if ($how{wait}) {
        CORE::open my $begun, '>', "$how{wait}.begun" or die $!;
        for (1 .. 1000) { last if -e $how{wait}; sleep 0.02 }
    }
    if ($how{status}) {
        print $s "HTTP/1.1 $how{status} No\r\nConnection: close\r\nContent-Length: 2\r\nMemSess-Set: no=1\r\n\r\nno";
        1 while <$s>;
        return;
    }
    my $accept = sha1_base64(($key // '') . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
    print $s "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        "X-Said: yes\r\nMemSess-Set: stolen=1\r\nSec-WebSocket-Accept: $accept\r\n\r\n";
    while (read $s, my ($start), 2) {
        my $len = 0x7f & ord substr $start, 1;
        read $s, my ($mask), 4;
        read $s, my ($text), $len;
        print $s pack('CC', 0x81, $len),
            join '', map { substr($text, $_, 1) ^ substr($mask, $_ % 4, 1) } 0 .. $len - 1;
    }
}

MemSess::Process::answer_each($ARGV[0], \&answer) unless caller;

1;
