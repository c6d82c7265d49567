# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# PSGI's session (psgix.session), kept by mod_memsess: enable 'Session::MemSess'. The session comes
# with the request and changes leave with the response, as docs/adapters.md says; README.md of
# clients/plack says what an application should know.
package Plack::Middleware::Session::MemSess;
use strict;
use warnings;
use parent 'Plack::Middleware';

use Plack::Util;
use Plack::Util::Accessor qw(plain expires field_size);

my $LINE       = 4000;    # bytes of pairs in one MemSess-Set
my $FIELD_SIZE = 8192;    # what httpd takes as a header line, from CGI and FastCGI always
my $REST       = 32;      # of that is for the header's name and the line's end
my $STATES     = qr/\A(?:none|unknown|expired|invalid|active|unavailable)\z/;

# plain: names whose strings are stored as they are, a log-in, so that another value brings a new
# id; expires: seconds without a request, for a session that begins here; field_size: what responsefieldsize= of ProxyPass says, if it does
sub prepare_app {
    my ($self) = @_;
    $self->{is_plain} = { map { ($_ => 1) } @{ $self->plain // [] } };
}

sub call {
    my ($self, $env) = @_;
    my $front = front($env);
    return unavailable($env) if $front->{state} eq 'unavailable';

    my $session = $env->{'psgix.session'} = $self->load($front);
    $env->{'psgix.session.options'} = { id => $front->{id} };
    my $before = $self->encoded($session);
    return $self->response_cb($self->app->($env), sub { $self->finish($env, $front, $before, $_[0]) });
}

# What mod_memsess says: in the headers of a proxy, or in the variables of CGI and FastCGI.
sub front {
    my ($env) = @_;
    my $cgi    = defined $env->{MEMSESS_STATE};
    my $prefix = $cgi ? 'MEMSESS_' : 'HTTP_MEMSESS_';
    my $state  = $env->{"${prefix}STATE"}
        // die 'mod_memsess is not in front of this application, or this section of its configuration '
            . "lacks MemSess On, or MemSessExpose headers (by FastCGI or CGI: MemSessExpose env).\n";
    $state =~ $STATES or die "mod_memsess says that the session is '$state': this adapter is older than the module, "
        . "and does not know that.\n";
    return { state => $state, id => $env->{"${prefix}ID"}, cgi => $cgi,
             data => $state eq 'active' ? data($env, $prefix) : '' };
}

# Form encoding has no commas: one is where repeated headers were joined.
sub data {
    my ($env, $prefix) = @_;
    my $parts = $env->{"${prefix}DATA_PARTS"} // return part($env, $prefix, '') =~ s/, *//gr;
    $parts =~ /\A[1-9][0-9]*\z/ or die "MEMSESS_DATA_PARTS is no number: $parts.\n";
    return join '', map { part($env, $prefix, "_$_") } 1 .. $parts;
}

sub part {
    my ($env, $prefix, $number) = @_;
    return $env->{"${prefix}DATA$number"}
        // die "The session's data are lost on the way: MEMSESS_DATA$number is missing. They are too long for what is "
            . "between httpd and here; see the table of limits, and MemSessExposeKeys.\n";
}

sub unavailable {
    my ($env) = @_;
    my $message = 'The session cannot be read now: the session servers do not answer.';
    $env->{'psgi.errors'}->print("$message\n");
    return [503, ['Content-Type' => 'text/plain', 'Retry-After' => 2], ["$message\n"]];
}

sub load {
    my ($self, $front) = @_;
    my %session;
    for my $pair (split /&/, $front->{data}) {
        my ($name, $text) = map { unescape($_) } split /=/, $pair, 2;
        my $key = MemSess::Codec::key($name) // next;
        $session{$key} = MemSess::Codec::decode($text // '', $self->{is_plain}{$key});
    }
    return \%session;
}

# Attribute names to stored texts.
sub encoded {
    my ($self, $session) = @_;
    my %encoded;
    for my $key (keys %$session) {
        my $name = MemSess::Codec::name($key);
        $encoded{$name} = eval { MemSess::Codec::encode($session->{$key}, $self->{is_plain}{$key}) }
            // die "The session's key '$key': $@";
    }
    return \%encoded;
}

# The headers that say what has changed. Whether the body changes it later is known at its end.
sub finish {
    my ($self, $env, $front, $before, $res) = @_;
    my $options = $env->{'psgix.session.options'} // {};
    return if $options->{no_store};

    my $session = $env->{'psgix.session'} // {};
    my $after   = $options->{expire} ? {} : $self->encoded($session);
    push @{ $res->[1] }, $options->{expire} ? ('MemSess-Destroy' => 1)
        : $self->headers($options, $front, $before, $after);
    return if ref $res->[2] eq 'ARRAY' || $res->[2] && Plack::Util::is_real_fh($res->[2]);

    my $then = all_of($env);
    return sub {
        die "The session was changed while the body was sent: this change is lost. Change the session before the "
            . "response's first byte is sent.\n"
            if !defined $_[0] && all_of($env) ne $then;
        return $_[0];
    };
}

sub all_of {
    my ($env) = @_;
    my $options = $env->{'psgix.session.options'} // {};
    return MemSess::Codec::encode([{ %{ $env->{'psgix.session'} // {} } }, @$options{qw(change_id expire expires)}]);
}

sub headers {
    my ($self, $options, $front, $before, $after) = @_;
    my @unset = grep { !exists $after->{$_} } sort keys %$before;
    my @set   = grep { !defined $before->{$_} || $before->{$_} ne $after->{$_} } sort keys %$after;
    my $expires = $options->{expires} // ($front->{state} ne 'active' && @set ? $self->expires : undef);
    my $logs_in = grep { $self->{is_plain}{ MemSess::Codec::key($_) } } @set;
    my $most = ($front->{cgi} ? $FIELD_SIZE : $self->field_size // $FIELD_SIZE) - $REST;
    return (
        (map { ('MemSess-Unset' => $_) } batches($most, @unset)),
        (map { ('MemSess-Set' => $_) } batches($most, map { "$_=" . escape($after->{$_}) } @set)),
        ('MemSess-Renew'  => 1) x !!($options->{change_id} || $logs_in),
        ('MemSess-Expire' => int($expires // 0)) x defined $expires,
    );
}

sub batches {
    my ($most, @pairs) = @_;
    my @lines;
    for my $pair (@pairs) {
        die "The session's attribute " . $pair =~ s/=.*//sr . ' is too long for a header line: ' . length($pair)
            . " bytes in form encoding, and $most are the most. Split it over several keys, or let httpd reach the "
            . 'application by mod_proxy_http with responsefieldsize= on ProxyPass, and give Session::MemSess the same '
            . "number as field_size.\n" if length $pair > $most;
        if (@lines && length($lines[-1]) + 1 + length $pair <= $LINE) { $lines[-1] .= "&$pair" }
        else                                                          { push @lines, $pair }
    }
    return @lines;
}

sub escape   { $_[0] =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ger }
sub unescape { $_[0] =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

# Bytes, for applications in languages that tell them from text; in Perl a string like any other.
package MemSess::Bytes;
use overload '""' => sub { ${ $_[0] } }, fallback => 1;

sub new { my ($class, $bytes) = @_; return bless \$bytes, $class }

# Keys to attribute names, values to what is stored (bytes), and back.
package MemSess::Codec;
use JSON::PP ();
use Math::BigInt ();
use MIME::Base64 ();
use Scalar::Util qw(blessed reftype);
use Time::Piece ();
no warnings 'recursion';

my $json = JSON::PP->new->canonical->allow_nonref->allow_bignum->max_depth(500);
my $date = '%a, %d %b %Y %H:%M:%S GMT';

sub name {
    my ($key) = @_;
    utf8::encode(my $bytes = $key);
    my $name = $bytes =~ /\A(?!\.\.)[A-Za-z0-9_.-]{1,64}\z/ ? $bytes
        : '..' . $bytes =~ s/([^A-Za-z0-9_-])/sprintf '.%02X', ord $1/ger;
    return $name if length $name <= 64;
    die "The session's key '" . substr($bytes, 0, 80) . "' cannot be stored: as the name of an attribute it has "
        . length($name) . " characters, and 64 are the most. Use a shorter key.\n";
}

# undef where no key leads to the name.
sub key {
    my ($name) = @_;
    return $name if $name !~ /\A\.\./;
    my $key = substr($name, 2) =~ s/\.([0-9A-Fa-f]{2})/chr hex $1/ger;
    return utf8::decode($key) && length $key <= 64 && name($key) eq $name ? $key : undef;
}

sub encode {
    my ($value, $plain) = @_;
    my $bare = defined $value && !ref $value && ($plain || !is_number($value));
    die "a plain value cannot have a NUL\n" if $plain && $bare && $value =~ /\0/;
    my $text = $bare ? "$value" : $json->encode(tag($value));
    utf8::encode($text);
    return $text if !$bare || $plain || is_bare($text);
    $text = $json->encode("$value");
    utf8::encode($text);
    return $text;
}

sub decode {
    my ($text, $plain) = @_;
    my $parsed = $plain ? undef : parse($text);
    return $$parsed if $parsed;
    utf8::decode($text);
    return $text;
}

# A reference to the value, or nothing where the text is no JSON as a whole.
sub parse {
    my ($text) = @_;
    return if $text !~ /\A[\[{"0-9tfn-]/ || $text =~ /\s\z/ || !utf8::decode($text);
    my $value;
    local $@;
    return eval { $value = untag($json->decode($text)); 1 } ? \$value : undef;
}

sub is_bare {
    my ($text) = @_;
    return $text !~ /\A"|\0/ && !parse($text);
}

# As JSON::PP tells it.
sub is_number { return $json->encode($_[0]) !~ /\A"/ }

sub tag {
    my ($value) = @_;
    my $type = blessed $value // ref $value;
    return is_number($value) && $value != 0 && ($value == $value * 2 || $value != $value) ? refuse($value) : $value
        if !$type && defined $value;
    return $value if !$type || $type eq 'JSON::PP::Boolean' || $type =~ /\AMath::BigInt\z/;
    return finite($value) if $type eq 'Math::BigFloat';
    return [map { tag($_) } @$value] if $type eq 'ARRAY';
    return tag_hash({ map { ($_ => tag($value->{$_})) } keys %$value }) if $type eq 'HASH';
    return { map { ($_ => tag($value->{$_})) } keys %$value } if $type eq 'MemSess::Tagged';
    return { ' b' => MIME::Base64::encode($$value, '') } if $type eq 'MemSess::Bytes';
    return { ' d' => Time::Piece::gmtime($value->epoch)->strftime($date) } if blessed $value && $value->can('epoch');
    refuse($value);
}

# A hash whose only key looks like a tag.
sub tag_hash {
    my ($hash) = @_;
    my ($key) = keys %$hash;
    return $hash unless keys %$hash == 1 && $key =~ /\A /;
    return { ' di' => { "${key}__" => $hash->{$key} } };
}

sub refuse {
    my ($value) = @_;
    die 'a session cannot hold ' . (ref $value || $value) . ': it takes undef, strings, finite numbers, JSON::PP\'s '
        . "true and false, references to arrays and hashes, and objects that have an epoch.\n";
}

sub untag {
    my ($value) = @_;
    my $type = ref $value;
    return $type eq 'ARRAY' ? [map { untag($_) } @$value]
        : $type eq 'HASH' ? untag_hash({ map { ($_ => untag($value->{$_})) } keys %$value })
        : $type eq 'Math::BigFloat' ? finite($value)
        : $type eq 'Math::BigInt' && 0 + "$value" eq "$value" ? 0 + "$value"
        : $value;
}

# A decimal, which is a Math::BigFloat as JSON::PP gives it; 1e999 is no number here.
sub finite {
    my $number = 0 + $_[0]->bsstr;
    return abs $number == 9**9**9 ? die : $number;
}

# A tag that is not known here is kept as it is.
sub untag_hash {
    my ($hash) = @_;
    my ($key, $inner) = %$hash;
    return $hash unless keys %$hash == 1 && $key =~ /\A /;
    return { map { (s/__\z//r => $inner->{$_}) } keys %$inner } if $key eq ' di' && (reftype($inner) // '') eq 'HASH';
    my $known = defined $inner && !ref $inner;
    return MemSess::Bytes->new(MIME::Base64::decode($inner)) if $known && $key eq ' b'
        && $inner =~ m{\A(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\z};
    my $time = $known && $key eq ' d' && eval { Time::Piece->strptime($inner, $date) };
    return $time || bless $hash, 'MemSess::Tagged';
}

1;
