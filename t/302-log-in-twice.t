# A log-in that is clicked twice, with its first answer thrown away, ends logged in; and a log-in
# renews the id without being told. An attacker who planted an id gets nothing of it.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;

plan tests => 9;

my @pool = pool(2);
my $modules = MemSess::Site::query('LIBEXECDIR');
my %module  = (
    map({ $_ => "$modules/mod_$_.so" } qw(session request auth_form)),
    session_memsess => "$ENV{MEMSESS_T_ROOT}/../.libs/mod_session_memsess.so",
    apitest         => "$ENV{MEMSESS_T_ROOT}/modules/.build/mod_apitest.so",
);
my $load = join '', map { qq(LoadModule ${_}_module "$module{$_}"\n) }
    qw(session request auth_form session_memsess apitest);
my @m = map { MemSess::Member->start(servers => \@pool, config => timing() . $load . <<'END') }
<LocationMatch /other>
    MemSessUserAttr name
</LocationMatch>
<LocationMatch /none>
    MemSessLock none
</LocationMatch>
<LocationMatch /request>
    MemSessLock request
</LocationMatch>
<Location /api>
    SetHandler apitest
</Location>
<LocationMatch ^/(?:form|dologin|guest)>
    Session On
    SessionMemSessCookie login
    SessionHeader X-Replace-Session
    AuthType form
    AuthName "Private Area"
    AuthFormProvider file
    AuthUserFile "${T_DIR}/users"
</LocationMatch>
ScriptAlias /form/ "${T_ROOT}/cgi-bin/"
ScriptAlias /guest/ "${T_ROOT}/cgi-bin/"
<Location /form/>
    AuthFormLoginRequiredLocation "http://localhost/login"
    Require valid-user
</Location>
<Location /dologin>
    SetHandler form-login-handler
    AuthFormLoginRequiredLocation "http://localhost/login?again"
    AuthFormLoginSuccessLocation "http://localhost/form/env"
</Location>
END
    1, 2;
for my $m (@m) {
    open my $users, '>', $m->dir . '/users' or die $!;
    print $users "ann:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=\n";    # test
}

# How an application logs a user in, and what else it sets.
my %log_in = (
    'Set and Renew' => ['MemSess-Set: user=ann&seen=1', 'MemSess-Renew: 1'],
    'Set alone'     => ['MemSess-Set: user=ann&seen=1'],
);

for my $how (sort keys %log_in) {
    subtest "the second click comes when the first is done: $how" => sub {
        for my $case (map { my $where = $_; map { [$where, $_] } @m } qw(cgi lua proxy cgi/none
            cgi/request)) {
            my ($where, $m) = @$case;
            my $jar = started($m[0], 'cart=3');
            # The browser throws the first answer away, since the second click is sent at once.
            is $jar->copy->get(say_via($where, @{ $log_in{$how} }))->status, 200, "$where: once";
            my $old = $jar->copy;
            is $jar->copy(server => $m)->get('/lua/env')->env('MEMSESS_STATE'), 'unknown',
                'the id is dead at once';
            is $jar->via($m)->get(say_via($where, @{ $log_in{$how} }))->status, 200, 'twice';
            isnt $jar->cookie, $old->cookie, 'there is a cookie';
            is data($jar->copy(server => $_)), 'seen=1&user=ann', 'logged in, the cart is empty'
                for @m;
            isnt state($old->copy(server => $_)), 'active', 'the old id stays dead' for @m;
        }
    };

    subtest "both clicks are under way at the same time: $how" => sub {
        for my $where (qw(cgi cgi/none)) {
            my $jar = started($m[0], 'cart=3');
            my $old = $jar->copy;
            my @clicks = map { slow($_, $where, @{ $log_in{$how} }) }
                $jar->copy, $jar->copy(server => $m[1]), $jar;
            is $_->()->status, 200, 'answered' for @clicks;
            isnt $jar->cookie, $old->cookie, 'the last one sets the cookie';
            is data($jar->copy(server => $_)), 'seen=1&user=ann', 'logged in' for @m;
            isnt state($old), 'active', 'the old id is dead';
        }
    };
}

subtest 'the first click is of a client that goes away' => sub {
    for my $how (sort keys %log_in) {
        my $jar = started($m[0], 'cart=3');
        goes_away($jar, say_via('cgi', @{ $log_in{$how} }));
        ok wait_for(20, sub { state($jar->copy) ne 'active' }), "$how: carried out all the same";
        $jar->via($m[1])->get(say_via('cgi', @{ $log_in{$how} }));
        is data($jar), 'seen=1&user=ann', 'logged in by the second';
    }
};

subtest 'a log-in after a log-out that nobody was told of' => sub {
    for my $end ('MemSess-Destroy: 1', 'MemSess-Destroy: all') {
        my $jar = started($m[0], 'user=ann');
        $jar->copy->get(say_via('cgi', $end));
        for my $click (1, 2) {
            my $click_of = $click == 1 ? $jar->copy : $jar;
            $click_of->via($m[$click - 1])->get(say_via('cgi', @{ $log_in{'Set alone'} }));
            is data($click_of), 'seen=1&user=ann', "$end: logged in again";
        }
    }
};

subtest 'a log-in renews by itself' => sub {
    my %ways = (
        header => sub { say_via('cgi', "MemSess-Set: user=$_[0]") },
        lua    => sub { say_via('lua', "MemSess-Set: user=$_[0]") },
        none   => sub { say_via('cgi/none', "MemSess-Set: user=$_[0]") },
        named  => sub { say_via('cgi/other', "MemSess-Set: name=$_[0]") },
        'C API' => sub { "/api?set+user+$_[0]" },
    );
    my @cases = (['ann', 1], ['ann', 0], ['bob', 1], ['', 0], ['bob', 1]);
    for my $way (sort keys %ways) {
        my $log_in = $ways{$way};
        my $jar    = started($m[0], 'cart=3');
        my $id     = public($jar);
        # The test's commands cannot have an empty value.
        for my $case ($way eq 'C API' ? @cases[0 .. 2] : @cases) {
            my ($user, $renews) = @$case;
            my $old = $jar->copy;
            is $jar->via($m[$renews])->get($log_in->($user))->status, 200, "$way: '$user'";
            is id_of($jar->cookie) ne id_of($old->cookie) ? 1 : 0, $renews,
                $renews ? 'another id' : 'the same id';
            is state($old->copy), 'unknown', 'the old one is dead at once' if $renews;
            like data($jar), qr/^cart=3&/, 'the session goes on';
            is public($jar), $id, 'it is the same';
        }
    }
    # A change that removes the user is no log-in.
    my $jar = started($m[0], 'user=ann');
    my $id  = id_of($jar->cookie);
    $jar->get(say_via('cgi', 'MemSess-Unset: user'));
    is id_of($jar->cookie), $id, 'Unset: the same id';
    $jar->get(say_via('cgi', 'MemSess-Set: user=ann'));
    isnt id_of($jar->cookie), $id, 'logged in again: another one';
};

subtest 'fixation' => sub {
    # The planted id is of the attacker's own session; and she clicks twice.
    my $attacker = started($m[0], 'cart=evil&note=evil');
    my $ann      = client($m[1])->set_cookie($attacker->cookie);
    $ann->copy->get(say_via('cgi', @{ $log_in{'Set and Renew'} }));
    $ann->get(say_via('cgi', @{ $log_in{'Set and Renew'} }));
    is data($ann), 'seen=1&user=ann', 'logged in, and nothing of the attacker is in it';
    for my $m (@m) {
        is state($attacker->copy(server => $m)), 'unknown', 'who gets nothing of it';
        my $r = $attacker->copy(server => $m)->get(say_via('cgi', 'MemSess-Set: note=1'));
        ok leaves_cookie($r), 'nor by writing';
        my $own = $attacker->copy(server => $m);
        $own->get(say_via('cgi', 'MemSess-Set: user=mallory', 'MemSess-Renew: 1'));
        is data($own), 'user=mallory', 'by a log-in a session of his own';
    }
    is data($ann), 'seen=1&user=ann', 'hers is as it was';
    # An id that no session has is not adopted here, either.
    my $made_up = 'Made-up_by_the_client-01';
    my $bob = client($m[0])->set_cookie($made_up);
    $bob->get(say_via('cgi', 'MemSess-Set: user=bob', 'MemSess-Renew: 1'));
    isnt $bob->cookie, $made_up, 'a made-up id is not adopted';
    is state(client($m[0])->set_cookie($made_up)), 'unknown', 'and of no use';
};

subtest 'the log-in form of mod_auth_form' => sub {
    my @click = ('/dologin', 'httpd_username=ann&httpd_password=test',
        'Content-Type: application/x-www-form-urlencoded');
    my $user = sub { $_[0]->copy->get('/form/env')->env('REMOTE_USER') // 'nobody' };
    my $jar  = client($m[0], name => 'login');
    $jar->get('/guest/say?' . escape("X-Replace-Session: cart=3\nContent-Type: text/plain\n\nok"));
    ok defined $jar->cookie, 'a guest';
    my $old = $jar->copy;
    is $jar->copy->post(@click)->status, 302, 'the first click, whose answer is thrown away';
    is $jar->via($m[1])->post(@click)->status, 302, 'the second';
    isnt $jar->cookie, $old->cookie, 'has a cookie';
    is $user->($jar->via($_)), 'ann', 'logged in' for @m;
    is $user->($old->via($_)), 'nobody', 'the id of the guest is dead' for @m;
};
