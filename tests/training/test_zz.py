from vlmalign.training import *
import pytest
@pytest.mark.parametrize("extra",[{"dtype":"mixed"},{"dtype":"bfloat16"},{"lora":{"rank":2,"dropout":0.1},"gradient_checkpointing":True},{"freeze":["vision"],"gradient_checkpointing":True}, {"report_to":["tensorboard"]}, {"max_length": 30}])
@pytest.mark.parametrize("kind",["dpo","reward"])
def test_x(settings, pairs, metrics_of, extra, kind):
    C,f={"dpo":(DpoConfig,train_dpo),"reward":(RewardConfig,train_reward)}[kind]
    run = f(make_config(C,{**settings, "data": pairs, "max_steps": 3,"save_steps":2, **extra}))
    print(kind,extra,[(round(l["loss"],2)) for l in metrics_of(run)], sorted(p.name for p in run.iterdir()))
