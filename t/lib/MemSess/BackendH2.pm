package MemSess::BackendH2;
# A back end that speaks HTTP/2 over cleartext and answers every request alike: with the interim
# responses and the answer that it was started with, each a list of header lines, the answer's first
# ":status: 200". How: together, all in one packet; apart, a tenth of a second between two of them;
# continued, each header block in two frames; bytes, byte by byte.
use strict;
use warnings;
use parent 'MemSess::Process';

use MemSess::WebSocket;
use Time::HiRes qw(sleep);

sub start {
    my ($class, $how, @answers) = @_;
    return $class->named('backend-h2')->launch_perl(__FILE__, $how, map { join "\n", @$_ } @answers);
}

# ---- what runs in the process of its own ----

sub frame { MemSess::WebSocket::H2::frame(@_) }

sub serve {
    my ($port, $how, @answers) = @_;
    MemSess::Process::answer_each($port, sub {
        my ($client) = @_;
        converse($client, $how, map { [split /\n/] } @answers);
    });
}

sub converse {
    my ($s, $how, @answers) = @_;
    read $s, my ($preface), 24;
    $s->syswrite(frame(4, 0, 0, ''));
    while (read $s, my ($head), 9) {
        my ($high, $low, $type, $flags, $stream) = unpack 'CnCCN', $head;
        read $s, my ($payload), $high << 16 | $low if $high << 16 | $low;
        $s->syswrite(frame(4, 1, 0, '')) if $type == 4 and !($flags & 1);
        $s->syswrite(frame(6, 1, 0, $payload)) if $type == 6 and !($flags & 1);
        answer($s, $how, $stream, @answers) if $type == 1;
    }
}

sub block {
    my ($how, $stream, @lines) = @_;
    my @fields = map { MemSess::WebSocket::H2::field(/^(:?[^:]+): (.*)/s) } @lines;
    return frame(1, 4, $stream, join '', @fields) if $how ne 'continued';
    my $last = pop @fields;
    return frame(1, 0, $stream, join '', @fields) . frame(9, 4, $stream, $last);
}

sub answer {
    my ($s, $how, $stream, @answers) = @_;
    my @parts = ((map { block($how, $stream, @$_) } @answers), frame(0, 1, $stream, "ok\n"));
    @parts = join '', @parts if $how eq 'together' or $how eq 'bytes';
    @parts = split //, $parts[0] if $how eq 'bytes';
    for my $part (@parts) {
        $s->syswrite($part);
        sleep($how eq 'bytes' ? 0.001 : 0.1) if @parts > 1;
    }
}

serve(@ARGV) unless caller;

1;
