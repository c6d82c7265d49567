# The application of t/407-plack.t: /NAME?ARGUMENT, the same in all languages.
use strict;
use warnings;
use FindBin;
use JSON::PP;
use Plack::Builder;
use Plack::Request;
use Plack::Session;

my $json = JSON::PP->new->utf8->canonical->allow_nonref->convert_blessed;
sub MemSess::Bytes::TO_JSON { "$_[0]" }
my $bytes = join '', map { chr } 0 .. 255;

my %does = (
    get        => sub { my ($s, $a) = @_; $json->encode($s->get($a)) },
    dump       => sub { $json->encode($_[0]->dump) },
    id         => sub { $_[0]->id // '' },
    put        => sub { my ($s, undef, $body) = @_; my $new = $json->decode($body); $s->set($_, $new->{$_}) for keys %$new },
    delete     => sub { my ($s, $a) = @_; $s->remove($a); 'deleted' },
    add        => sub { my ($s, $a) = @_; $s->set($a, 1 + ($s->get($a) // 0)) },
    nested     => sub { my ($s) = @_; $s->session->{cart}{n}++; 'counted' },
    bytes      => sub { my ($s) = @_; $s->set(bytes => MemSess::Bytes->new($bytes)); $s->set(octets => $bytes); 'put' },
    'is-bytes' => sub { my ($s) = @_; $s->get('bytes') eq $bytes && $s->get('octets') eq $bytes ? 'same' : 'other' },
    object     => sub { my ($s) = @_; $s->set(object => sub { 1 }) },
    login      => sub { my ($s, $a) = @_; $s->options->{change_id} = 1; $s->set(user => $a) },
    renew      => sub { my ($s) = @_; $s->options->{change_id} = 1 },
    switch     => sub { my ($s, $a) = @_; $s->options->{change_id} = 1; %{ $s->session } = (user => $a); 'switched' },
    logout     => sub { my ($s) = @_; $s->expire },
    expire     => sub { my ($s, $a) = @_; $s->set(kept => 1); $s->options->{expires} = $a },
    untouched  => sub { 'nothing' },
);

sub late {
    my ($session, $how) = @_;
    $session->session->{cart} //= {};
    return sub {
        my $writer = $_[0]->([200, ['Content-Type' => 'text/plain']]);
        $writer->write("begun\n");
        $how eq 'nested' ? $session->session->{cart}{n} = 1000 : $session->set(late => 1);
        $writer->close;
    };
}

builder {
    enable '+Plack::Middleware::Session::MemSess', plain => ['user'], field_size => 400_000;
    sub {
        my ($env) = @_;
        my $session = Plack::Session->new($env);
        my ($name) = "$env->{SCRIPT_NAME}$env->{PATH_INFO}" =~ m{([^/]+)$};
        my $request = Plack::Request->new($env);
        my $argument = $env->{QUERY_STRING} =~ tr/+/ /r =~ s/%(..)/chr hex $1/ger;
        return late($session, $argument) if $name eq 'late';
        my $text = $does{$name}->($session, $argument, $request->content);
        return [200, ['Content-Type' => 'text/plain'], [$text]];
    };
};
