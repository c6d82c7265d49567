# docs/directives.md, which docs/reference.md, memsess.conf and the manual page are made from, says
# of every directive what the module does.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Site;
use MemSess::Test;

plan tests => 4;

my $edit = 'edit docs/directives.md, then run docs/make';
my %entry = entries('docs/directives.md');
my $modules = MemSess::Site::query('LIBEXECDIR');

my $provider = qq(LoadModule session_module "$modules/mod_session.so"
    LoadModule session_memsess_module "$ENV{MEMSESS_T_ROOT}/../.libs/mod_session_memsess.so"\n);

# One file that can stand for everything that a sample names: a password, a secret.
my $file = private_file('directives', join('', 'user:', '0123456789abcdef' x 4, "\n"));

subtest 'all of them, and no other' => sub {
    my $m = MemSess::Member->start(config => qq(
        LoadModule info_module "$modules/mod_info.so"
        <Location /info>
            MemSess Off
            SetHandler server-info
        </Location>
    ));
    my ($list) = client($m)->get('/info?mod_memsess.c')->body
        =~ m{Module Directives:(.*?)Current Configuration}s;
    # These three are httpd's own: the module only looks at them.
    my @real = sort grep { !/^(?:AuthMerging|Require|SetHandler)$/ } ($list // '') =~ m{<tt>(\w+) - }g;
    cmp_ok scalar @real, '>', 20, 'mod_info lists the directives of the module' or diag $list;
    is_deeply [sort grep { $entry{$_}{module} eq 'memsess' } keys %entry], \@real,
        'docs/directives.md has the same' or diag $edit;
    my %help = $list =~ m{<tt>(\w+) - <i>(.*?)</i>}gs;
    like $help{MemSessBind}, qr/^off\|WORD\.\.\.: .*\btls\b/, 'httpd tells of each word';
    is_deeply [grep { !index $entry{$_}{syntax}, $help{$_} =~ s/:.*//sr } grep { /\W/ } @real], [],
        'and of arguments';
    $m->stop;
};

subtest 'each sample is accepted where it may stand, and nowhere else' => sub {
    for my $name (sort keys %entry) {
        my %may = map { $_ => 1 } split /, /, $entry{$name}{where};
        my $sample = $entry{$name}{sample} =~ s{/etc/\S+}{$file}gr;
        my $pool = $name eq 'MemSessServers' ? ''
            : "MemSessServers 127.0.0.1:1 127.0.0.1:2 127.0.0.1:3\n";
        $pool .= $provider if $entry{$name}{module} eq 'session_memsess';
        accepts("$pool$sample", 1, $name);
        accepts("$pool<VirtualHost *>\n$sample\n</VirtualHost>", $may{vhost} || $may{dir}, $name);
        accepts("$pool<Location />\n$sample\n</Location>", $may{dir}, $name);
    }
};

subtest 'memsess.conf as it is installed' => sub {
    accepts('Include ' . MemSess::Site::top() . '/conf.d/memsess.conf', 1, 'changes nothing');
};

subtest 'a sample that says it is the default, is' => sub {
    my @odd = grep { !$entry{$_}{example}
        && index($entry{$_}{default}, "`$entry{$_}{value}`") < 0 } sort keys %entry;
    is "@odd", '', 'the sample is the default, or the comment says "example" or what the default is'
        or diag $edit;
};

sub accepts {
    my ($config, $expected, $what) = @_;
    my ($status, $message) = MemSess::Member->check($config);
    is !$status || 0, $expected || 0,
        "$what: " . ($expected ? 'accepted: ' : 'refused: ') . $config =~ s/\n/ | /gr
        or diag $message, $edit;
}

sub entries {
    my ($file) = @_;
    open my $in, '<', MemSess::Site::top() . "/$file" or die "$file: $!";
    my (undef, @parts) = split /^### (.*)\n/m, do { local $/; <$in> };
    my %entry;
    while (my ($syntax, $text) = splice @parts, 0, 2) {
        my ($name) = $syntax =~ /^((?:Session)?MemSess\w*)/ or next;
        my %field = (module => 'memsess', $text =~ /^- (\w+): (.*)$/mg);
        ($field{value}) = $field{sample} =~ /^\S+ (.*)/;
        $field{example} = $text =~ /^>.*(?:Example|default)/m;
        $entry{$name} = \%field;
    }
    return %entry;
}
