"""The two commands of the project's first README, word for word."""

TRAIN = (
    "python main.py --input_shape=256 --nb_epoch=10000 --batch_size=32 --lr=0.0001 --val_ratio=0.8 "
    "--checkpoint=31 --checkpoint_path='./trained_models/lightnet' "
    '--weight_dir="./trained_models/initial.h5" --tflite_name="" --train=True --finetune=False '
    '--convert=False --android=False --model="mattingnet"'
)
FINETUNE = (
    "python main.py --input_shape=256 --nb_epoch=10000 --batch_size=32 --lr=0.0001 --val_ratio=0.8 "
    "--checkpoint=100 --checkpoint_path='./trained_models/mattingnet/' "
    '--weight_dir="./trained_models/mattingnet/20200202/490-0.12.h5" --train=True --finetune=True '
    '--convert=False --android=False --model_size="big"'
)
