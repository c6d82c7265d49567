package MemSess::Backend;
# A small HTTP server to proxy to. It answers /echo with the exact header lines (and
# trailers) that reached it, /say?TEXT with the response that TEXT spells as a CGI
# script would, and /raw?TEXT with its very bytes.
use strict;
use warnings;
use parent 'MemSess::Process';

sub start { my ($class) = @_; return $class->named('backend')->launch_perl(__FILE__) }

# ---- what runs in the process of its own ----

sub answer {
    my ($client) = @_;
    my ($head, $body) = ('', '');
    while (defined(my $line = <$client>)) {
        last if $line =~ /^\r?\n$/;
        $head .= $line;
    }
    $body = $head =~ /^Transfer-Encoding:\s*chunked/mi ? read_chunked($client, \$head)
          : $head =~ /^Content-Length:\s*(\d+)/mi      ? read_bytes($client, $1)
          :                                              '';
    my ($path, $query) = $head =~ m{^\S+ (/[^? ]*)\??(\S*)};
    $query =~ s/%([0-9a-fA-F]{2})/chr hex $1/ge;
    if ($path =~ m{^/say\b}) {
        my ($headers, $content) = split /\n\n/, $query, 2;
        my $status = $headers =~ s/^Status: (.*)\n?// ? $1 : '200 OK';
        $headers =~ s/\r?\n/\r\n/g;
        print $client "HTTP/1.1 $status\r\n$headers\r\nConnection: close\r\n\r\n", $content // '';
    }
    elsif ($path =~ m{^/raw\b}) {
        print $client $query;
    }
    else {
        print $client "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ",
            length $head, "\r\nConnection: close\r\n\r\n", $head;
    }
}

sub read_bytes {
    my ($client, $length) = @_;
    read $client, my ($bytes), $length;
    return $bytes;
}

# Trailers are added to the head, so that an echo shows them.
sub read_chunked {
    my ($client, $head) = @_;
    my $body = '';
    while (my $size = hex((scalar <$client> // '') =~ /^([0-9a-f]+)/i ? $1 : 0)) {
        $body .= read_bytes($client, $size);
        <$client>;
    }
    while (defined(my $line = <$client>)) {
        last if $line =~ /^\r?\n$/;
        $$head .= $line;
    }
    return $body;
}

MemSess::Process::answer_each($ARGV[0], \&answer) unless caller;

1;
