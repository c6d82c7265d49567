package MemSess::HTTP;
# Raw HTTP: the request is exactly what the test says, and the answer keeps every line.
use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use IPC::Open2;

our @EXPORT_OK = qw(request raw h2);

# The answer to these bytes; undef if none came. httpd has to close the connection, so a request that
# would leave it open must say Connection: close.
sub raw {
    my ($port, $bytes, %how) = @_;
    my ($in, $out, $pid);
    if ($how{tls}) {
        # Its remarks on the self-signed certificate go to stderr.
        my $cert = $how{cert} ? "-cert '$how{cert}' -key '$how{cert}'" : '';
        $cert .= " $how{tls}" if $how{tls} =~ /^-/;    # more options
        $pid = open2($in, $out, "exec openssl s_client -quiet -noservername $cert "
            . "-connect 127.0.0.1:$port 2>/dev/null");
    }
    else {
        $in = $out = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port,
            Timeout => 10)
            or die "cannot connect to port $port: $@\n";
    }
    binmode $_ for $in, $out;
    my $answer = '';
    local $@;
    eval {
        local $SIG{ALRM} = sub { die "no answer within 60 s\n" };
        alarm 60;
        $out->autoflush(1);
        print $out $bytes;
        while (sysread $in, my $more, 65536) { $answer .= $more }
        alarm 0;
        1;
    } or warn $@;
    alarm 0;
    if ($pid) { close $out; kill 'TERM', $pid; waitpid $pid, 0 }
    return MemSess::HTTP::Response->parse($answer);
}

# headers: lines, in order, duplicates kept
sub request {
    my ($port, $method, $target, $headers, $body, %how) = @_;
    my @lines = ("$method $target HTTP/1.1", @{ $headers // [] });
    push @lines, 'Host: localhost' unless grep { /^host:/i } @lines;
    push @lines, 'Connection: close' unless grep { /^connection:/i } @lines;
    push @lines, 'Content-Length: ' . length $body if defined $body;
    return raw($port, join("\r\n", @lines, '', '') . ($body // ''), %how);
}

# The answer by HTTP/2. curl itself hangs with the sanitizers' libraries.
sub h2 {
    my ($port, $target, @headers) = @_;
    delete local $ENV{LD_PRELOAD};
    open my $curl, '-|',
        qw(curl --disable --silent --include --http2-prior-knowledge --max-time 20 --noproxy *),
        (map { ('--header', $_) } @headers), "http://127.0.0.1:$port$target" or die "curl: $!";
    local $/;
    return scalar(<$curl>) // '';
}

package MemSess::HTTP::Response;

sub parse {
    my ($class, $answer) = @_;
    my ($head, $body, @interim);
    for ($body = $answer; ; push @interim, split /\r\n/, $head) {
        ($head, $body) = split /\r\n\r\n/, $body // '', 2;
        last if ($head // '') !~ m{^HTTP/1\.1 1\d\d};
    }
    my ($status_line, @lines) = split /\r\n/, $head // '';
    my ($status) = ($status_line // '') =~ m{^HTTP/1\.[01] (\d{3})};
    my $self = bless { status => $status, lines => \@lines, interim => \@interim,
                       body => $body // '', raw => $answer }, $class;
    $self->{body} = dechunk($self->{body}) if $self->header('Transfer-Encoding') =~ /chunked/i;
    return $self;
}

sub dechunk {
    my ($coded) = @_;
    my $body = '';
    while ($coded =~ s/^([0-9a-fA-F]+)[^\n]*\n//) {
        my $size = hex $1 or last;
        $body .= substr $coded, 0, $size, '';
        $coded =~ s/^\r\n//;
    }
    return $body;
}

sub status { $_[0]{status} // 0 }
sub lines  { @{ $_[0]{lines} } }
sub body   { $_[0]{body} }

# All values of one header; joined in scalar context.
sub header {
    my ($self, $name) = @_;
    my @values = map { /^\Q$name\E:\s*(.*?)\s*$/i } $self->lines;
    return wantarray ? @values : join ', ', @values;
}

# All headers with our prefix, in interim responses, too.
sub leaks { grep { /^memsess-/i } @{ $_[0]{interim} }, $_[0]->lines }

# One variable of the environment that /cgi/env and the like print; undef if unset.
sub env {
    my ($self, $name) = @_;
    my ($value) = $self->{body} =~ /^\Q$name\E=(.*)$/m or return undef;
    $value =~ s/%([0-9a-fA-F]{2})/chr hex $1/ge;
    return $value;
}

# Header lines that a back end saw, by name.
sub echoed {
    my ($self, $name) = @_;
    my @values = $self->{body} =~ /^$name:[ \t]*(.*?)\r?$/mig;
    return wantarray ? @values : join ', ', @values;
}

1;
