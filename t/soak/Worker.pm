package Worker;
# One client with many sessions. Of each it keeps every state that it may have: one, or two after a
# refused change, whose outcome nobody knows. Every answer tells what the session was when the
# request came, and must be one of these states.
#
# All workers share some sessions: in these, each worker increments a common counter and one of its
# own in the same response, so the first is the sum of the others at any time.
#
# Some sessions have a user, whom no other worker logs in: when that user logs out everywhere, all
# of the user's sessions end. Visitors come with the cookie of a session that no longer exists, and
# sometimes they log in.
#
# If members have a local cache, a client still reads its own writes at once, whichever member it
# asks. What it cannot know itself (others' changes, and the outcome of a refused one) it may see as
# late as the cache's max-age: until then nothing is concluded from what it reads.
use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

my $OWN      = 20;     # sessions at a time
my $GRAVES   = 30;     # dead ids that are still tried
my $PAUSE    = 0.016;  # seconds between two requests, at most
my $PATIENCE = 60;     # seconds to wait for an answer

my $GONE = '-';        # the state of a session that no longer exists; else its data, as it is exposed

my $ENDS = qr/^(?:renew|mix|login|destroy|everywhere)$/;    # what ends an id

sub new {
    my ($class, %args) = @_;
    my @shared = map { { cookie => $_, mine => { 0 => 1 }, seen => 0, least => 0, saw => [],
        sure => 0, unsure => 0 } }
        @{ $args{shared} };
    return bless { max_age => 0, visitors => [], %args, own => [], graves => [], shared => \@shared, count => {},
                   most => {}, fault => 'none yet', connection => {}, heard => '', serial => 0,
                   target => '/step' }, $class;
}

sub work {
    my ($self) = @_;
    srand $self->{seed};
    while (1) {
        $self->obey(rand $PAUSE) or return;
        $self->{paused} ? $self->obey(1) : $self->act;
    }
}

# ---- the parent ----

# Listens to the parent for this long; false when the parent is gone.
sub obey {
    my ($self, $seconds) = @_;
    return 1 unless IO::Select->new($self->{parent})->can_read($seconds);
    $self->{parent}->sysread($self->{heard}, 4096, length $self->{heard}) or return 0;
    while ($self->{heard} =~ s/^(.*)\n//) {
        my ($what, $rest) = split / /, $1, 2;
        if ($what eq 'fault') {
            ($self->{fault}, $self->{calm}) = ($rest, 0);
            next;
        }
        elsif ($what eq 'touch') { $self->touch }
        elsif ($what eq 'pause') { $self->{paused} = 1; $self->touch }
        elsif ($what eq 'report') { $self->report }
        $self->{parent}->syswrite("done $rest\n");
    }
    return 1;
}

sub count { my ($self, $what, $n) = @_; $self->{count}{$what} += $n // 1 }

sub violation {
    my ($self, $kind, $text) = @_;
    $self->count($kind);
    $self->{parent}->syswrite("$kind (worker $self->{id}; last fault: $self->{fault}) $text\n");
}

# Reads every session by each member, dead ones too, while all servers are up: what lacks a copy
# gets it. Each member reads, since they may have found different servers away: a member believes
# what such a server has only after reading it again. A revision is not repaired while it is so
# young that it may still be on its way, nor if a cache answers.
sub touch {
    my ($self) = @_;
    $self->{calm} = 1;
    sleep 0.3 + $self->{max_age};
    for my $port (@{ $self->{ports} }) {
        local $self->{ports} = [$port];
        $self->touch_all;
    }
    $self->{own} = [grep { !$_->{over} } @{ $self->{own} }];
}

sub touch_all {
    my ($self) = @_;
    $self->patiently(sub { $self->on_own($_[0], 'read') }, $_) for @{ $self->{own} };
    $self->patiently(sub { $self->on_grave($_[0]) }, $_) for @{ $self->{graves} };
    $self->patiently(sub { $self->on_shared($_[0], 'read') }, $_) for @{ $self->{shared} };
}

sub patiently {
    my ($self, $code, $session) = @_;
    for (1 .. 20) {
        return if $session->{over} || $code->($session);
        sleep 0.25;
    }
}

sub report {
    my ($self) = @_;
    for my $k (1 .. @{ $self->{shared} }) {
        my $s = $self->{shared}[$k - 1];
        $self->count("$_-$k", $s->{$_}) for qw(sure unsure);
        $self->{most}{"total-$k"} = $s->{seen};
    }
    $self->tell_counts;
}

sub tell_counts {
    my ($self) = @_;
    $self->{parent}->syswrite("count $_ $self->{count}{$_}\n") for sort keys %{ $self->{count} };
    $self->{parent}->syswrite(sprintf "most %s %d\n", $_, $self->{most}{$_})
        for sort keys %{ $self->{most} };
}

# ---- what a client does ----

sub act {
    my ($self) = @_;
    return $self->begin if @{ $self->{own} } < $OWN;
    my $dice = rand 110;
    return $self->on_shared(pick($self->{shared}), rand() < 0.7 ? 'incr' : 'read') if $dice < 25;
    return $self->on_grave(pick($self->{graves})) if $dice < 32 and @{ $self->{graves} };
    my $what = $dice < 60 ? 'read' : $dice < 75 ? 'set' : $dice < 80 ? 'unset' : $dice < 90 ? 'incr'
             : $dice < 94 ? 'renew' : $dice < 97 ? 'mix' : $dice < 99 ? 'destroy' : $dice < 102 ? 'login'
             : $dice < 104 ? 'everywhere' : 'visit';
    return $self->on_visitor(pick($self->{visitors})) if $what eq 'visit';
    my @those = $what eq 'everywhere' ? grep { defined user_of($_) } @{ $self->{own} }
              : @{ $self->{own} };
    $self->on_own(pick(\@those), $what) if @those;
    $self->{own} = [grep { !$_->{over} } @{ $self->{own} }];
}

sub pick { my ($list) = @_; return $list->[rand @$list] }

# The header lines of a change, and what it makes of a state.
sub change {
    my ($self, $what) = @_;
    my $v    = ++$self->{serial};
    my $name = 'k' . int rand 4;
    my $size = rand() < 0.1 ? 3000 : 10;
    my $text = join '', map { chr(97 + rand 26) } 1 .. rand $size;
    my %change = (
        set     => [["MemSess-Set: $name=$text&v=$v"], sub { $_[0]{$name} = $text; $_[0]{v} = $v }],
        unset   => [["MemSess-Unset: $name", "MemSess-Set: v=$v"],
        sub { delete $_[0]{$name}; $_[0]{v} = $v }],
        incr    => [['MemSess-Incr: c=3'], sub { $_[0]{c} += 3 }],
        mix     => [["MemSess-Set: v=$v", 'MemSess-Incr: c=1', 'MemSess-Renew: 1'],
            sub { $_[0]{v} = $v; $_[0]{c}++ }],
        renew   => [['MemSess-Renew: 1'], sub { }],
        login   => [["MemSess-Set: user=u$self->{id}.$v&v=$v", "MemSess-Renew: 1"],
            sub { $_[0]{user} = "u$self->{id}.$v"; $_[0]{v} = $v }],
        destroy => [['MemSess-Destroy: 1'], undef],
        everywhere => [['MemSess-Destroy: all'], undef],
    );
    return @{ $change{$what} };
}

# A state after a change; states are as MEMSESS_DATA is.
sub changed {
    my ($state, $code) = @_;
    return $GONE if $state eq $GONE or !$code;
    my %data = map { split /=/, $_, 2 } split /&/, $state;
    $code->(\%data);
    return join '&', map { "$_=$data{$_}" } sort keys %data;
}

# The user of a session, if it certainly has one.
sub user_of {
    my ($s) = @_;
    my %users = map { (/(?:^|&)user=([^&]*)/ ? $1 : '') => 1 } keys %{ $s->{may_be} };
    my ($user, @others) = keys %users;
    return @others || $user eq '' ? undef : $user;
}

# Begins a session for a visitor who has no cookie, or a useless one. Half of the visitors log in:
# as a new user, or as one who has another session.
sub begin {
    my ($self, $cookie) = @_;
    my $v = ++$self->{serial};
    my $user = rand() < 0.5 ? undef : "u$self->{id}.$v";
    my @known = grep { defined } map { user_of($_) } @{ $self->{own} };
    my $job = $user && 'first';
    ($user, $job) = (pick(\@known), undef) if $user && @known && rand() < 0.4;
    my $state = "c=0&own=$self->{id}.$v" . ($user ? "&user=$user" : '') . "&v=$v";
    local $self->{asked} = 'a new session';
    local $self->{job} = defined $cookie ? 'visitors' : $job;
    my $r = $self->ask('change', $cookie, "MemSess-Set: $state");
    return if $r->{refused};
    return $self->violation('other', "a new session: $r->{text}")
        if $r->{state} ne (defined $cookie ? 'unknown' : 'none') or !$r->{cookie}
        or defined $cookie && id_of($r->{cookie}) eq id_of($cookie);
    push @{ $self->{own} },
        { cookie => $r->{cookie}, may_be => { $state => 1 }, name => "$self->{id}.$v" };
    $self->count('sessions');
}

sub on_visitor {
    my ($self, $cookie) = @_;
    return $self->begin($cookie) if rand() < 0.2;
    local ($self->{asked}, $self->{job}) = ('a visitor', 'visitors');
    my $r = $self->ask('read', $cookie);
    $self->violation('other', "a visitor by $r->{where}: $r->{text}")
        if !$r->{refused} && ($r->{state} ne 'unknown' || $r->{cookie});
}

# Returns true if there was an answer.
sub on_own {
    my ($self, $s, $what) = @_;
    my ($lines, $code) = $what eq 'read' ? ([]) : $self->change($what);
    local $self->{asked} = $s->{name};
    local $self->{job}   = $what eq 'login' ? 'first' : $what eq 'everywhere' ? $what : undef;
    my $r = $self->ask($what eq 'read' ? 'read' : 'change', $s->{cookie}, @$lines);
    my @twins = $what eq 'everywhere' ? $self->twins($s) : ();
    if ($r->{refused}) {
        return 0 if $what eq 'read';
        if ($what ne 'login') {
            $s->{may_be}{$_} = 1 for map { changed($_, $code) } keys %{ $s->{may_be} };
        }
        for ($what =~ $ENDS ? ($s, @twins) : $s) {
            $_->{may_be}{$GONE} = 1 if $what =~ $ENDS;
            $_->{open_until} = time + $self->{max_age};
        }
        return 0;
    }
    my $state = $self->judge($s, $r, $what) // do { $s->{over} = 1; return 1 };
    if ($state eq $GONE) {
        $self->bury($s, "$what of $s->{name}");
        return $s->{over} = 1;
    }
    for my $twin (@twins) {
        $self->bury($twin, "$what of $s->{name}");
        $twin->{over} = 1;
    }
    return $self->learn($s, $r, $what, $code,
        $self->is_open($s, $r) ? sort keys %{ $s->{may_be} } : $state);
}

# The other sessions of the same user.
sub twins {
    my ($self, $s) = @_;
    my $user = user_of($s) // return;
    return grep { $_ != $s && grep { /(?:^|&)user=\Q$user\E(?:&|$)/ } keys %{ $_->{may_be} } }
        @{ $self->{own} };
}

# Whether what was read may be older than a change whose outcome is unknown.
sub is_open { my ($self, $s, $r) = @_; return $r->{begun} < ($s->{open_until} // 0) }

# Updates what the session may be after an answer, from what it may have been before.
sub learn {
    my ($self, $s, $r, $what, $code, @before) = @_;
    my $is_same = $r->{cookie} && id_of($r->{cookie}) eq id_of($s->{cookie});
    if ($what ne 'read' && $self->was_dropped($r, $what)) {
        $self->violation('lost', "$what of $s->{name} by $r->{where} was not made")
            if !$s->{may_be}{$GONE};
        return 1;
    }
    if ($what =~ $ENDS) {
        my $ended = $what =~ /^(?:destroy|everywhere)$/;
        $self->bury($s, "$what of $s->{name}");
        $self->violation('other', "$what: cookie wrong: $r->{text}")
            if $ended ? defined $r->{cookie} : !$r->{cookie} || $is_same;
        $s->{over} = $ended || !$r->{cookie};
        $s->{cookie} = $r->{cookie};
    }
    elsif ($is_same) {
        $s->{cookie} = $r->{cookie};
    }
    # A client that was told a revision is never shown an older one.
    if ($what ne 'read') {
        @before = grep { $_ ne $GONE } @before if @before > 1;
        $s->{open_until} = 0;
    }
    $s->{may_be} = { map { ($what eq 'read' ? $_ : changed($_, $code)) => 1 } @before };
    return 1;
}

# With a cache, the cookie of an answer shows that its change was made. Without one, only the next
# answer shows it.
sub was_dropped {
    my ($self, $r, $what) = @_;
    return $self->{max_age} && $r->{state} eq 'active' && $what !~ /^(?:destroy|everywhere)$/
        && !$r->{cookie};
}

sub id_of { my ($cookie) = @_; return (split /[.~]/, $cookie)[0] }

# What the session was, which must be one of the states that it may have had.
sub judge {
    my ($self, $s, $r, $what) = @_;
    my @may_be = sort keys %{ $s->{may_be} };
    my $told = "$what of $s->{name} by $r->{where}: '$r->{text}' instead of " . join ' or ',
        map { "'$_'" } @may_be;
    my $state = $r->{state} eq 'active' ? $r->{data} : $r->{state} eq 'unknown' ? $GONE : undef;
    if (!defined $state) {
        $self->violation('other', $told);
    }
    elsif (!$s->{may_be}{$state}) {
        $self->violation($state eq $GONE ? 'lost' : "@may_be" eq $GONE ? 'revived' : 'stale',
            $told);
    }
    elsif ($state ne $GONE) {
        $s->{public} //= $r->{public};
        return $state if $s->{public} eq $r->{public};
        $self->violation('other', "another public id: $told");
    }
    return undef;
}

sub bury {
    my ($self, $s, $how) = @_;
    push @{ $self->{graves} }, { cookie => $s->{cookie}, how => $how, was => { %{ $s->{may_be} } },
                                 seen_until => time + $self->{max_age} };
    shift @{ $self->{graves} } if @{ $self->{graves} } > $GRAVES;
}

# A dead id stays dead for readers and for writers (a write soon after the end is dropped, and a
# later one begins a session with another id). Other members' caches may still have the old session
# for a while; even then nothing is written to it.
sub on_grave {
    my ($self, $grave) = @_;
    my $late = !$self->{calm} && rand() < 0.3;
    local $self->{asked} = "a dead id, after $grave->{how}";
    my $r = $self->ask($late ? 'change' : 'read', $grave->{cookie},
        $late ? 'MemSess-Set: late=1' : ());
    return 0 if $r->{refused};
    return 1 if $r->{begun} < $grave->{seen_until} && $r->{state} eq 'active'
        && $grave->{was}{ $r->{data} } && !$r->{cookie};
    if ($r->{state} ne 'unknown') {
        $self->violation('revived', "after $grave->{how} by $r->{where}: $r->{text}");
        @{ $self->{graves} } = grep { $_ != $grave } @{ $self->{graves} };
    }
    elsif ($late && defined $r->{cookie} && id_of($r->{cookie}) eq id_of($grave->{cookie})) {
        $self->violation('other', "a dead id is used again after $grave->{how}: $r->{text}");
    }
    return 1;
}

sub shared_session {
    my ($port) = @_;
    my $self = Worker->new(id => 0, ports => [$port], shared => []);
    my $r = $self->ask('change', undef, 'MemSess-Incr: n=0');
    return $r->{cookie} // die "no shared session: $r->{text}\n";
}

sub on_shared {
    my ($self, $s, $what) = @_;
    my @lines = $what eq 'read' ? () : ("MemSess-Incr: n=1&w$self->{id}=1");
    local $self->{asked}  = 'a shared session';
    local $self->{target} = @lines && rand() < 0.2 ? '/slow' : '/step';
    my $r = $self->ask(@lines ? 'change' : 'read', $s->{cookie}, @lines);
    if ($r->{refused}) {
        return 0 if !@lines;
        $s->{unsure}++;
        $s->{mine}{ $_ + 1 } = 1 for keys %{ $s->{mine} };
        $s->{open_until} = time + $self->{max_age};
        return 0;
    }
    my $state = "shared session by $r->{where}: '$r->{text}'";
    return $self->violation('lost', $state) if $r->{state} eq 'unknown';
    return $self->violation('other', $state) if $r->{state} ne 'active';
    my %data = map { split /=/, $_, 2 } split /&/, $r->{data};
    my $n    = delete $data{n};
    my $mine = $data{"w$self->{id}"} // 0;
    my $sum  = 0;
    $sum += $_ for values %data;
    my $least = $self->least($s, $r->{begun});
    $self->violation('stale', "$state: was $least before") if $n < $least;
    $self->violation('stale', "$state: mine is @{[ sort keys %{ $s->{mine} } ]}")
        if !$s->{mine}{$mine};
    $self->violation('other', "$state: the sum is $sum") if $n != $sum;
    $self->violation('lost', "$state: an increment was not made")
        if @lines && $self->was_dropped($r, 'incr');
    $s->{seen}   = $n if $n > $s->{seen};
    $s->{cookie} = $r->{cookie} if $r->{cookie};
    my @mine = $self->is_open($s, $r) ? keys %{ $s->{mine} } : $mine;
    if (@lines) {
        @$s{qw(saw least open_until)} = ([], $s->{seen} + 1, 0);
        $_++ for @mine;
        $s->{sure}++;
    }
    else {
        push @{ $s->{saw} }, [time, $n];
    }
    $s->{mine} = { map { $_ => 1 } @mine };
    return 1;
}

# A lower bound of the common counter: a client's own write includes everything that it has seen,
# and what it has read is seen by its next reading once no cache has anything older.
sub least {
    my ($self, $s, $begun) = @_;
    while (@{ $s->{saw} } && $s->{saw}[0][0] + $self->{max_age} <= $begun) {
        my $n = (shift @{ $s->{saw} })->[1];
        $s->{least} = $n if $n > $s->{least};
    }
    return $s->{least};
}

# ---- the wire ----

# What a member answered: refused, or state, public, data, cookie (undef: none or cleared), where,
# text (for messages). No answer, or one that is neither 200 nor 503, is a violation.
sub ask {
    my ($self, $kind, $cookie, @lines) = @_;
    my $port  = pick($self->{ports});
    my $query = join "\n", @lines;
    $query =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;
    my $begun = time;
    my ($status, $headers, $body) = $self->exchange($port, join "\r\n",
        "GET $self->{target}?$query HTTP/1.1", 'Host: localhost',
        defined $cookie ? "Cookie: memsess=$cookie" : (), '', '');
    my $took = 1000 * (time - $begun);
    my $most = \$self->{most}{"longest-$kind"};
    $$most = $took if $took > ($$most // 0);
    $self->violation('slow', sprintf '%d ms for: %s', $took, join ' | ', @lines) if $took > 2500;
    $self->count('operations');
    $self->count($self->{job}) if $self->{job};
    if ($status != 200) {
        $self->count('refused') if $status == 503;
        $self->count("refused-$self->{job}") if $status == 503 && $self->{job};
        $self->count('calm') if $status == 503 && $self->{calm};
        $self->{parent}->syswrite("refused (worker $self->{id}; last fault: $self->{fault}) "
            . "$kind @lines by $port of " . ($self->{asked} // '') . "\n")
            if $ENV{SOAK_VERBOSE} && $status == 503;
        $self->violation('other', "status $status by $port: @lines: " . ($body =~ s/\s+/ /gr))
            if $status != 503;
        return { refused => 1, text => $status };
    }
    my ($state, $public, $data) = split /\n/, $body;
    my ($new) = $headers =~ /^Set-Cookie: memsess=([^;\r]+)/mi;
    return { begun => $begun, state => $state, public => $public, data => $data // '',
             cookie => $new, where => $port, text => $state eq 'active' ? $data : $state };
}

# A connection is used for some requests, and then replaced, so that every child process gets its
# share.
sub exchange {
    my ($self, $port, $bytes) = @_;
    my $c = delete $self->{connection}{$port};
    $c = undef if $c && (--$c->{left} < 0 || IO::Select->new($c->{socket})->can_read(0));
    $c //= { socket => IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port,
        Timeout => 10)
                 || return (0, '', "cannot connect: $@"), left => 20 + int rand 60 };
    $c->{socket}->syswrite($bytes);
    my $answer = '';
    my $end    = time + $PATIENCE;
    while (1) {
        my ($head, $body) = whole($answer);
        if (defined $body) {
            $self->{connection}{$port} = $c unless $head =~ /^Connection:\s*close/mi;
            my ($status) = $head =~ m{^HTTP/1\.1 (\d+)};
            return ($status // 0, $head, $body);
        }
        my $left = $end - time;
        $left > 0 && IO::Select->new($c->{socket})->can_read($left)
            && $c->{socket}->sysread($answer, 65536, length $answer)
            or return (0, '', "no answer: '$answer'");
    }
}

# Head and body of an answer, if it is complete.
sub whole {
    my ($head, $body) = split /\r\n\r\n/, $_[0], 2;
    return if !defined $body;
    if ($head =~ /^Transfer-Encoding:\s*chunked/mi) {
        return if $body !~ s/(?:^|\r\n)0\r\n\r\n\z//;
        my $plain = '';
        $plain .= substr $body, 0, hex $1, '' while $body =~ s/^(?:\r\n)?([0-9a-f]+)\r\n//i;
        return ($head, $plain);
    }
    return if $head =~ /^Content-Length:\s*(\d+)/mi && length $body < $1;
    return ($head, $body);
}

1;
