# What clients/vectors.json says, of Session::MemSess: exits with 0 where all of it holds.
use strict;
use warnings;
use FindBin;
use JSON::PP;
use Plack::Middleware::Session::MemSess;
use Scalar::Util qw(blessed reftype);

my $json = JSON::PP->new->canonical->allow_nonref->allow_bignum;
open my $in, '<:encoding(UTF-8)', "$FindBin::Bin/../../vectors.json" or die "vectors.json: $!";
my $vectors = numbers($json->decode(do { local $/; <$in> }));
my ($held, $failed) = (0, 0);
binmode STDOUT, ':utf8';

# As Perl has them, instead of Math::BigFloat and the like.
sub numbers {
    my ($value) = @_;
    return [map { numbers($_) } @$value] if ref $value eq 'ARRAY';
    return { map { ($_ => numbers($value->{$_})) } keys %$value } if ref $value eq 'HASH';
    return (ref $value) =~ /^Math/ ? 0 + "$value" : $value;
}

sub holds {
    my ($what, $code) = @_;
    my $ok = eval { $code->() };
    $ok ? $held++ : $failed++;
    print 'does not hold: ', ref $what ? $json->encode(plainly($what)) : $what, ': ', $@ || '', "\n" unless $ok;
}

sub refused {
    my ($what, $named, $code) = @_;
    holds($what, sub { !eval { $code->(); 1 } && index($@, $named) >= 0 });
}

sub plainly { ref $_[0] eq 'HASH' ? { map { ($_ => plainly($_[0]{$_})) } keys %{ $_[0] } } : "$_[0]" }
# Without the mark of a tag that is kept.
sub bare    { (reftype $_[0] // '') eq 'HASH' ? { map { ($_ => bare($_[0]{$_})) } keys %{ $_[0] } } : $_[0] }
sub utf8    { my ($text) = @_; utf8::encode($text); return $text }

# As a value of the session's, strings told from numbers.
sub same { MemSess::Codec::encode($_[0]) eq MemSess::Codec::encode($_[1]) }

# The same text, or JSON that means the same.
sub same_text {
    my ($one, $other) = @_;
    return $one eq $other || same(map { ${ MemSess::Codec::parse($_) // return 0 } } $one, $other);
}

# What a request with these variables, and an application that does so, answers: status, headers.
sub answer {
    my ($variables, $application, %options) = @_;
    open my $errors, '>', \my $said;
    my $env = { REQUEST_METHOD => 'GET', PATH_INFO => '/', 'psgi.errors' => $errors, %$variables };
    my $res = Plack::Middleware::Session::MemSess->wrap(
        sub { $application->($_[0]{'psgix.session'}, $_[0]); [200, [], []] }, %options)->($env);
    my %headers;
    my @headers = @{ $res->[1] };
    while (my ($name, $value) = splice @headers, 0, 2) { push @{ $headers{$name} }, $value }
    return ($res->[0], \%headers);
}

sub active { return { HTTP_MEMSESS_STATE => 'active', HTTP_MEMSESS_ID => 'id', HTTP_MEMSESS_DATA => $_[0] } }

sub pairs {
    my ($lines) = @_;
    my $unescape = \&Plack::Middleware::Session::MemSess::unescape;
    return { map { map { $unescape->($_) } split /=/, $_, 2 } map { split /&/ } @{ $lines // [] } };
}

for my $v (@{ $vectors->{names} }) {
    holds($v, sub { MemSess::Codec::name($v->{key}) eq $v->{name} && MemSess::Codec::key($v->{name}) eq $v->{key} });
}
refused($_, utf8(substr $_->{key}, 0, 20), sub { MemSess::Codec::name($_->{key}) }) for @{ $vectors->{names_refused} };
for my $name (@{ $vectors->{names_left_alone}{names} }) {
    holds($name, sub { !defined MemSess::Codec::key($name) });
}

for my $v (@{ $vectors->{values}{both} }) {
    holds($v, sub { same_text(MemSess::Codec::encode($v->{value}), utf8($v->{text})) });
    holds($v, sub { same(MemSess::Codec::decode(utf8($v->{text})), $v->{value}) });
}
for my $v (@{ $vectors->{values}{read_only} }) {
    holds($v, sub { same(MemSess::Codec::decode(utf8($v->{text})), $v->{value}) });
}
for my $v (@{ $vectors->{values}{large_integers} }) {
    holds($v, sub { MemSess::Codec::encode(MemSess::Codec::decode($v->{text})) eq $v->{text} });
}
for my $value (9**9**9, -9**9**9, -sin(9**9**9), sub { 1 }, \'x', bless({}, 'Object')) {
    refused("$value", 'thekey', sub { answer(active(''), sub { $_[0]{thekey} = $value }) });
}
for my $v (@{ $vectors->{plain}{both} }) {
    holds($v, sub { MemSess::Codec::encode($v->{value}, 1) eq $v->{text}
        && MemSess::Codec::decode($v->{text}, 1) eq $v->{value} });
}
for my $v (@{ $vectors->{plain}{write_only} }) {
    holds($v, sub { MemSess::Codec::encode($v->{value}, 1) eq $v->{text} });
}
refused($_, 'NUL', sub { MemSess::Codec::encode($_, 1) }) for @{ $vectors->{plain}{refused}{values} };

for my $v (@{ $vectors->{tags}{known} }) {
    my ($means, $got) = ($v->{means}, MemSess::Codec::decode(utf8($v->{text})));
    holds($v, sub {
        return "$got" eq pack 'H*', $means->{hex} if defined $means->{hex};
        return $got->epoch == $means->{date} if $means->{date};
        return $json->encode(bare($got)) eq $json->encode($means->{dict}) && ref $got eq 'HASH' if $means->{dict};
        return blessed $got && $got->isa('MemSess::Tagged');
    });
    holds($v, sub { same_text(MemSess::Codec::encode($got), $v->{text}) });
}
for my $text (@{ $vectors->{tags}{kept}{texts} }, map { $_->{text} } @{ $vectors->{tags}{nested} }) {
    holds($text, sub { same_text(MemSess::Codec::encode([MemSess::Codec::decode($text), 1]), "[$text,1]") });
}

for my $v (@{ $vectors->{data} }) {
    my ($status, $headers) = answer(active($v->{data}), sub { $v->{seen} = { %{ $_[0] } } });
    holds($v, sub { same($v->{seen}, $v->{dict}) && $status == 200 && !%$headers });
}
for my $v (@{ $vectors->{set}{both} }) {
    my (undef, $headers) = answer(active(''), sub { $_[0]{ MemSess::Codec::key($v->{name}) } = $v->{text} });
    holds($v, sub { pairs($headers->{'MemSess-Set'})->{ $v->{name} } eq utf8($v->{text}) });
}
for my $v (@{ $vectors->{parts} }) {
    my $ask = sub { answer($v->{variables}, sub { $v->{seen} = { %{ $_[0] } } }) };
    $v->{error} ? refused($v, 'MEMSESS_DATA', $ask) : holds($v, sub { $ask->(); same($v->{seen}, $v->{dict}) });
}
for my $state (sort keys %{ $vectors->{states} }) {
    my ($seen, $does) = (undef, $vectors->{states}{$state});
    my ($status) = answer({ %{ active('a=1') }, HTTP_MEMSESS_STATE => $state }, sub { $seen = { %{ $_[0] } } });
    holds($state, sub {
        $does eq 'new' ? $status == 200 && !%$seen : $does eq 'load' ? same($seen, { a => 1 })
            : $status == 503 && !$seen;
    });
}
for my $v (@{ $vectors->{changes} }, map { { %$_, %{ $_->{kept} } } } @{ $vectors->{nulls}{changes} }) {
    my (undef, $headers) = answer(active($v->{data}), sub { %{ $_[0] } = %{ $v->{now} } });
    holds($v, sub {
        same(pairs($headers->{'MemSess-Set'}), $v->{set})
            && join('&', @{ $headers->{'MemSess-Unset'} // [] }) eq join '&', @{ $v->{unset} };
    });
}

my $big = sub { $_[0]{big} = 'x' x 9000 };
refused('absent', 'MemSessExpose', sub { answer({}, sub { }) });
refused('state', 'odd', sub { answer({ HTTP_MEMSESS_STATE => 'odd' }, sub { }) });
refused('line', $_, sub { answer(active(''), $big) }) for 'big', 'responsefieldsize';
refused('line', 'big', sub { answer({ MEMSESS_STATE => 'none' }, $big, field_size => 100_000) });
holds('line', sub { answer(active(''), $big, field_size => 100_000) });
for my $change (sub { $_[0]{'psgix.session.options'}{change_id} = 1 }, sub { $_[0]{'psgix.session'}{a}{b} = 2 }) {
    refused('sent', 'while the body', sub {
        my $env = { REQUEST_METHOD => 'GET', PATH_INFO => '/', %{ active('a=%7B%22b%22%3A1%7D') } };
        my $body = Plack::Util::inline_object(getline => sub { }, close => sub { });
        my $res = Plack::Middleware::Session::MemSess->wrap(sub { [200, [], $body] })->($env);
        $change->($env);
        $res->[2]->getline;
    });
}
my (undef, $headers) = answer(active(''), sub { $_[0]{"k$_"} = 'x' x 1000 for 1 .. 10 });
holds('several lines', sub {
    my $lines = $headers->{'MemSess-Set'};
    @$lines > 2 && !grep({ length > 4000 } @$lines) && keys %{ pairs($lines) } == 10;
});
(undef, $headers) = answer(active('user=ann'), sub { $_[0]{user} = 'eve' }, plain => ['user']);
holds('a log-in renews', sub { same($headers, { 'MemSess-Set' => ['user=eve'], 'MemSess-Renew' => [1] }) });
(undef, $headers) = answer(active('a=null'), sub { $_[0]{b} = 1 });
holds('null that came is left', sub { same($headers, { 'MemSess-Set' => ['b=1'] }) });

print "$held hold, $failed do not\n";
exit($failed ? 1 : 0);
