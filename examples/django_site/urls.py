"""The addresses of the site; `django_site.TOUR` says what is to be seen there."""

from __future__ import annotations

from django.urls import path
from django.views.decorators.cache import cache_page

from . import views

PAGE_SECONDS = 60

urlpatterns = [
    path('', views.index),
    path('page/', cache_page(PAGE_SECONDS)(views.index)),
    path('hello/', views.hello),
    path('session/', views.session),
    path('primes.txt', views.primes),
    path('factors/<int:number>/', views.factors),
    path('counter/', views.counter),
    path('status/', views.status),
]
