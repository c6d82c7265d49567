package MemSess::Client;
# A browser with one cookie: it keeps the cookie that is set, and sends it.
use strict;
use warnings;
use MemSess::HTTP qw(request);

# Every session cookie of this test: none may be found in a log.
our %secrets;

# server: anything with a port
sub new {
    my ($class, $server, %args) = @_;
    return bless { server => $server, name => 'memsess', %args }, $class;
}

sub cookie {
    my ($self) = @_;
    return $self->{cookie};
}

sub set_cookie { my ($self, $value) = @_; $self->{cookie} = $value; return $self }

# The same browser, sent to another member by the balancer.
sub via { my ($self, $server) = @_; $self->{server} = $server; return $self }

# Another browser with the same cookie.
sub copy { my ($self, %args) = @_; return bless { %$self, %args }, ref $self }

sub get { my ($self, $target, @headers) = @_; return $self->send('GET', $target, \@headers) }

sub post {
    my ($self, $target, $body, @headers) = @_;
    return $self->send('POST', $target, \@headers, $body);
}

sub send {
    my ($self, $method, $target, $headers, $body, %how) = @_;
    my @headers = @{ $headers // [] };
    push @headers, "Host: $self->{host}" if $self->{host};
    push @headers, "Cookie: $self->{name}=$self->{cookie}" if defined $self->{cookie};
    my $port = $self->{tls} ? $self->{server}->tls_port : $self->{server}->port;
    my $r = request($port, $method, $target, \@headers, $body, tls => $self->{tls},
        cert => $self->{cert});
    $self->keep($_) for $r->header('Set-Cookie');
    return $r;
}

sub keep {
    my ($self, $line) = @_;
    my ($value, $attributes) = $line =~ /^\Q$self->{name}\E=([^;]*)(.*)/ or return;
    if ($attributes =~ /;\s*Max-Age=0*(?:;|$)/i or $attributes =~ /;\s*Expires=[^;]*1970/i) {
        delete $self->{cookie};
    }
    else {
        $self->{cookie} = $value;
        $secrets{$value}++;
    }
}

1;
