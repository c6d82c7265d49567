# Sinatra and Rails (its controllers, flash and CSRF) with their own use of the session, for t/405-rack.t.
$LOAD_PATH.unshift File.expand_path('..', __dir__)
require 'memsess'
require 'sinatra/base'
require 'action_controller'

# As Sinatra's README shows sessions.
class Sinatra::Visits < Sinatra::Base
  set :environment, :production
  enable :sessions
  set :session_store, MemSess::Session

  get '/counter' do
    session[:visits] = session.fetch(:visits, 0) + 1
    session[:visits].to_s
  end
  get '/value' do
    session['value'] = params['value'] if params['value']
    "value = #{session['value'].inspect}"
  end
  get('/clear') { session.clear }
  get('/count') { session.fetch(:visits, 0).to_s }
  get('/late') do
    stream do |out|
      out << "begun\n"
      session[:visits] = 1000
      out << "done\n"
    end
  end
end

# As the guides of Rails show sessions, flash and log-in.
class PagesController < ActionController::Base
  protect_from_forgery with: :exception

  def login
    reset_session
    session[:user_id] = params[:user].to_i
    redirect_to '/app/rails/home', notice: 'Logged in'
  end

  def home
    render plain: "user: #{session[:user_id].inspect} notice: #{flash[:notice].inspect}"
  end

  def token
    render plain: form_authenticity_token
  end

  def cart
    (session[:cart] ||= []) << params[:item]
    render plain: session[:cart].join(' ')
  end

  def logout
    reset_session
    head :no_content
  end
end

routes = ActionDispatch::Routing::RouteSet.new
routes.draw do
  get '/home', to: 'pages#home'
  get '/token', to: 'pages#token'
  get '/login', to: 'pages#login'
  post '/cart', to: 'pages#cart'
  get '/logout', to: 'pages#logout'
end
stack = ActionDispatch::MiddlewareStack.new
stack.use MemSess::Session
stack.use ActionDispatch::Flash
PagesController.include routes.mounted_helpers
PagesController.logger = nil

map('/app/sinatra') { run Sinatra::Visits }
map('/app/rails') { run stack.build(routes) }
