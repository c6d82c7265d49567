# clients/servlet/MemSessFilter.java, in Tomcat 10.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use Cwd qw(getcwd);
use MemSess::Adapter;
use MemSess::Site;
use MemSess::Test;

plan tests => 14;

my $dir = MemSess::Site::top() . '/clients/servlet';
my $classes = getcwd() . "/t/logs/servlet-$$";
my $tomcat = join ':', map { "/usr/share/java/tomcat10-$_.jar" }
    qw(catalina api coyote juli util util-scan servlet-api annotations-api jaspic-api jni);
mkdir $_ for 't/logs', $classes, "$classes/base";
my $said = `examples/servlet/ecj -17 -proc:none -failOnWarning -cp $tomcat -d $classes $dir/MemSessFilter.java $dir/test/*.java 2>&1`;
is $said, '', 'it compiles, without a warning';
my @java = ('java', '-XX:-UsePerfData', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', "$classes:$tomcat");

my $app = MemSess::Adapter->start(late => ['set', 'nested', 'full'],
    command => sub { [@java, 'App', $_[0], "$classes/base"] });
$app->behaves(null => 1);
objects($app->members);
MemSess::Adapter::vectors(@java, 'Vectors', "$dir/../vectors.json");

# Objects of the classes that the init parameter names.
sub objects {
    my ($one, $two) = @_;
    my $c = client($one);
    is $c->get('/app/point')->status, 200, 'an object that may be serialized';
    is $c->via($two)->get('/app/is-point')->body, 'same', 'is there';
}
